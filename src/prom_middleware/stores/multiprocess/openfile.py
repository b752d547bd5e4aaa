"""A file that is open for as long as somebody uses it.

A program that becomes a daemon closes all descriptors that it finds, ours among them, and what it
opens after that gets their numbers. So nothing is done with a descriptor that does not lead where
it led when it was opened: the file could be anybody's.
"""

from __future__ import annotations

import os

from prom_middleware import failures


class OpenFile:
    """Have one file open at most: `_fd`, or -1."""

    _fd = -1
    # Device and inode of the file that was opened last.
    _opened = (0, 0)

    def _have(self, fd: int) -> os.stat_result:
        """Take a descriptor that was just opened; return what it leads to."""
        self._fd, found = fd, os.fstat(fd)
        self._opened = found.st_dev, found.st_ino
        return found

    def _found(self) -> os.stat_result | None:
        """Return what the descriptor leads to; None if that is not ours any more."""
        if self._fd < 0:
            return None
        try:
            found = os.fstat(self._fd)
        except OSError:  # closed, and the number not used again
            self._lose()
            return None
        if (found.st_dev, found.st_ino) != self._opened:
            self._lose()
            return None
        return found

    def _lose(self) -> None:
        """Forget a descriptor that somebody else has closed."""
        self._fd = -1

    def close(self) -> None:
        """Close the file. In a forked child, that leaves a lock of the parent's as it is."""
        if self._found() is not None:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:
        try:
            self.close()
        except AttributeError:  # the interpreter ends, and `os` is gone
            pass
        except Exception as error:
            failures.report("store", error)
