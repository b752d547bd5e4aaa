"""Forked children for the tests of the store: what they do, and how they end."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from random import random
from time import sleep
from traceback import print_exc

from prom_middleware import failures
from prom_middleware.stores import Family, Labels
from prom_middleware.stores.multiprocess import MultiprocessStore

REQUESTS = Family("requests", ("route",), 3)
LIVE = Family("in_progress", (), 1, live=True)
# There, to make thousands of stores takes a third as long as on a disk.
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def fork(child: Callable[[], object]) -> int:
    """Run `child` in a forked process that says no goodbye, and return the process's id."""
    # Coverage's lock may be another thread's at that moment, and would be so for ever in the child.
    trace = sys.gettrace()
    sys.settrace(None)
    with warnings.catch_warnings():
        # To fork while there are threads is what some tests are about.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        sys.settrace(trace)
        return pid
    # What a handler of pytest's holds, nobody would see.
    logging.getLogger("prom_middleware").addHandler(logging.StreamHandler(sys.__stderr__))
    code = 1
    try:
        child()
        code = 0
    except BaseException:
        print_exc()
    finally:
        os._exit(code)


def end(pid: int) -> int:
    """Wait for a child; return its exit code, or the negative number of its signal."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def run(child: Callable[[], object]) -> int:
    """Run `child` in a forked process and return how it ended."""
    return end(fork(child))


def killed(child: Callable[[], object]) -> None:
    """Run `child` in a forked process that is killed when it is done."""

    def suicidal() -> None:
        child()
        os.kill(os.getpid(), signal.SIGKILL)

    assert run(suicidal) == -signal.SIGKILL


@contextmanager
def three_at_work(work: Callable[[int], Iterator[object]]) -> Iterator[Callable[[], None]]:
    """Keep three children at `work`, each with a number of its own; yield what kills the oldest.

    It has gone twenty steps by then: a busy machine may start children late, and who kills by the
    clock may kill all of them before any has done anything.
    """
    workers = deque(_Worker(work, number) for number in range(3))
    numbers = count(len(workers))

    def kill_oldest() -> None:
        assert os.read(workers[0].heard, 1) == b"."
        sleep(random() * 0.02)
        assert workers.popleft().kill() == -signal.SIGKILL
        workers.append(_Worker(work, next(numbers)))

    try:
        yield kill_oldest
    finally:
        for worker in workers:
            worker.kill()


class _Worker:
    def __init__(self, work: Callable[[int], Iterator[object]], number: int) -> None:
        self.heard, told = os.pipe()

        def child() -> None:
            steps = work(number)
            for _ in islice(steps, 20):
                pass
            os.write(told, b".")
            for _ in steps:
                pass

        self.pid = fork(child)
        os.close(told)  # a child that ends early is heard of at once

    def kill(self) -> int:
        os.close(self.heard)
        os.kill(self.pid, signal.SIGKILL)
        return end(self.pid)


def add(store: MultiprocessStore, family: Family, labels: Labels, *amounts: float) -> None:
    """Add to the cells of a block, as a caller does."""
    offset = store.offsets(family).get(labels)
    if offset is None:
        offset = store.allocate(family, labels)
    cells = store.cells
    for index, amount in enumerate(amounts, offset):
        cells[index] += amount


def read(store: MultiprocessStore, family: Family) -> dict[Labels, list[float]]:
    """Return what a snapshot says."""
    return dict(store.snapshot().read(family))


def vectors(directory: Path) -> list[str]:
    """Return the names of the vectors."""
    return sorted(path.name for path in directory.glob("*.vector"))


def reported(cause: str = "store") -> float:
    """Return how often a cause was counted."""
    return failures.counts().get(cause, 0)
