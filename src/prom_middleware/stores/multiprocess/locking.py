"""The directory's lock: who changes the dictionary or takes a slot, and who takes a snapshot.

A forked child has to close its copy of the descriptor: with it, it would hold what its parent
holds, and would be let in where its parent is.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

from prom_middleware.stores.multiprocess.layout import LOCK
from prom_middleware.stores.multiprocess.making import open_or_make
from prom_middleware.stores.multiprocess.openfile import OpenFile

# Seconds from one look at a lock that is taken to the next.
BETWEEN_TRIES = 0.0005


def try_flock(fd: int) -> bool:
    """Take the file's lock, if it is free."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def free_flock(fd: int) -> None:
    """Give the file's lock back. Not by closing: a child forked meanwhile may hold a copy."""
    fcntl.flock(fd, fcntl.LOCK_UN)


class DirectoryLock(OpenFile):
    """The lock of one directory, as one store sees it."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, LOCK)
        # Of the file, in Unix seconds: nobody writes to it, so who keeps it young says when.
        self.modified = 0.0

    def is_open(self) -> bool:
        """Tell whether the file could be opened: who cannot do that shares nothing."""
        return self._fd >= 0

    @contextmanager
    def held(self, patience: float) -> Iterator[None]:
        """Hold the lock; TimeoutError if it was not free for `patience` seconds."""
        try:
            self._acquire(patience)
            yield
        finally:
            self.release()

    def _acquire(self, patience: float) -> None:
        if self._try():
            return
        deadline = monotonic() + patience
        while not self._try():
            if monotonic() >= deadline:
                raise TimeoutError(f"{self._path} is locked by another process")
            sleep(BETWEEN_TRIES)

    def _try(self) -> bool:
        if self._found() is None:
            self._have(open_or_make(self._path))
        if not try_flock(self._fd):
            return False
        found = os.fstat(self._fd)
        self.modified = found.st_mtime
        if found.st_nlink:
            return True
        # It was deleted, and others lock another file of that name.
        self.close()
        return False

    def release(self) -> None:
        """Give the lock back."""
        if self._fd >= 0:
            free_flock(self._fd)
