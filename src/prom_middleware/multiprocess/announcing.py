"""How all workers come to know what one of them removes: a file that gets longer.

Its length is RING and a byte for each beginning of a removal and for each end. So an odd length
says that one is under way, or that its process was killed in it; the file's lock, which is free
then, tells the two apart. Who finds it free notes the end. Those bytes are never written: they
take no room on the disk.

The first RING bytes say what the last removals were of, 8 bytes each, in turn; they are written
before the beginning is noted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from time import monotonic, sleep

from prom_middleware import failures
from prom_middleware.multiprocess.removals import EVERYTHING
from prom_middleware.stores.multiprocess import forking
from prom_middleware.stores.multiprocess.layout import write_whole
from prom_middleware.stores.multiprocess.locking import free_flock, try_flock
from prom_middleware.stores.multiprocess.making import open_or_make
from prom_middleware.stores.multiprocess.openfile import OpenFile

REMOVALS = "prom_middleware.removals-2"
# Seconds to wait for others who remove something.
PATIENCE = 0.5
PAUSE = 0.0005
ENDED, BEGUN = 0, 1
# Seconds from one look at the file to the next.
BETWEEN_LOOKS = 1.0
# More than any file has, in bytes; even.
LONGEST = 1 << 40

PLACES, NAME = 512, len(EVERYTHING)
RING = PLACES * NAME


class AnnouncementFile(OpenFile):
    """The file in a store's directory."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, REMOVALS)
        self._own_fds: set[int] = set()
        self._look_at = monotonic() + BETWEEN_LOOKS
        # Of files that had the name before.
        self._lengths = 0
        self.reopen()
        forking.watch(self)

    def forked(self) -> None:
        """Close what a thread has open that is not in the child: its lock would be ours as well."""
        while self._own_fds:
            os.close(self._own_fds.pop())
        # Not to be closed by a child that becomes a daemon, and then taken for ours.
        self.close()
        self._look_at = -inf

    def reopen(self) -> None:
        """Look at the file that has the name now."""
        self.close()
        with suppress(OSError):
            self._have(self._open())

    def length(self) -> int:
        """Return another number than before if something was removed since."""
        if monotonic() > self._look_at:
            self._look()
        try:
            # The cheapest way to ask: gauges do so before each write.
            return self._lengths + os.lseek(self._fd, 0, os.SEEK_END)
        except OSError:
            return self._lengths

    def _look(self) -> None:
        """Notice that the file was deleted, or closed by somebody else."""
        self._look_at = monotonic() + BETWEEN_LOOKS
        found, before = self._found(), self._opened
        if found is None or not found.st_nlink:
            self.reopen()
            if self._opened != before:
                self._lengths += LONGEST

    def since(self, seen: int) -> tuple[int, set[bytes]]:
        """Return the length, and what was removed since it was `seen`: EVERYTHING, or names."""
        length = self._settled(self.length())
        if max(seen, 0) < self._lengths:  # of what another file said, some may not be known
            return length, {EVERYTHING}
        first, last = _removals(seen - self._lengths), _removals(length - self._lengths)
        ring = os.pread(self._fd, RING, 0) if last else b""
        # Who removes next, or has done so meanwhile, writes over the oldest.
        if last < first or _removals(self.length() - self._lengths) - first >= PLACES:
            return length, {EVERYTHING}
        places = (each % PLACES * NAME for each in range(first, last))
        return length, {ring[place : place + NAME] for place in places}

    def _settled(self, length: int) -> int:
        """Return the length, with the end of who was killed; without a removal under way."""
        if length % 2 == ENDED:
            return length
        try:
            with self._own() as fd:
                if try_flock(fd):
                    return self._lengths + _note(fd, ENDED)
        except OSError as error:
            failures.report("multiprocess.remove", error)
        # Those before it have ended: whoever waited for one of them must know of it.
        return length - 1

    @contextmanager
    def removing(self, name: bytes) -> Iterator[None]:
        """Be the only one who removes; TimeoutError if others take too long."""
        with self._own() as fd:
            deadline = monotonic() + PATIENCE
            while not try_flock(fd):
                if monotonic() >= deadline:
                    raise TimeoutError(f"{self._path} was locked for {PATIENCE} s")
                sleep(PAUSE)
            _begin(fd, name)
            try:
                yield
            finally:
                _note(fd, ENDED)

    @contextmanager
    def _own(self) -> Iterator[int]:
        # Opened anew: the lock of a file that a child inherits would be the child's as well.
        fd = self._open()
        self._own_fds.add(fd)
        try:
            yield fd
        finally:
            if fd in self._own_fds:
                self._own_fds.remove(fd)
                free_flock(fd)
                os.close(fd)

    def _open(self) -> int:
        return open_or_make(self._path)


def _removals(length: int) -> int:
    """Return how many removals have ended."""
    return max(length - RING, 0) // 2


def _begin(fd: int, name: bytes) -> None:
    # The end of who was killed comes first: its name is not to be written over.
    if os.fstat(fd).st_size < RING:
        os.ftruncate(fd, RING)
    length = _note(fd, ENDED)
    write_whole(fd, name, _removals(length) % PLACES * NAME)
    _note(fd, BEGUN)


def _note(fd: int, what: int) -> int:
    # Not twice: who was killed has noted the beginning for the next one.
    length = os.fstat(fd).st_size
    if length % 2 != what:
        length += 1
        os.ftruncate(fd, length)
    return length
