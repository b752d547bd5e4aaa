"""Forked children for the tests of the store: what they do, and how they end."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from traceback import print_exc

from prom_middleware import failures
from prom_middleware.stores import Family, Labels
from prom_middleware.stores.multiprocess import MultiprocessStore

REQUESTS = Family("requests", ("route",), 3)
LIVE = Family("in_progress", (), 1, live=True)


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
