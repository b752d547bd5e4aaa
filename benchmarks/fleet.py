"""Worker processes: each does its work and then waits, to be killed without any farewell."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

AT_ONCE = 2
# One for all fleets: where each has its own, workers of the one keep those of the other alive.
LIFE = os.pipe()


class Fleet:
    """Forked workers; those that are left die with this process."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    def start(self, number: int, work: Callable[[], Any]) -> None:
        """Fork workers, and return when each of them has done its work."""
        while number > 0:
            ready = [self._fork(work) for _ in range(min(number, AT_ONCE))]
            for fd in ready:
                with open(fd, "rb") as file:
                    if file.read(1) != b"+":
                        raise RuntimeError("a worker failed")
            number -= len(ready)

    def kill(self, number: int) -> None:
        """Kill the oldest workers, so that nothing of theirs can run any more."""
        gone, self.pids = self.pids[:number], self.pids[number:]
        for pid in gone:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _fork(self, work: Callable[[], Any]) -> int:
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            self._work(work, writer)
        os.close(writer)
        self.pids.append(pid)
        return reader

    def _work(self, work: Callable[[], Any], ready: int) -> None:
        waiting, alive = LIFE
        try:
            os.close(alive)
            work()
            os.write(ready, b"+")
            os.close(ready)
            os.read(waiting, 1)  # nothing ever comes, but its end when we are orphans
        except BaseException:
            traceback.print_exc(file=sys.stderr)
        finally:
            os._exit(1)


@contextmanager
def fleet() -> Iterator[Fleet]:
    """Have workers, none of which is left behind."""
    workers = Fleet()
    try:
        yield workers
    finally:
        workers.kill(len(workers.pids))
