"""A file that is open for as long as somebody uses it."""

from __future__ import annotations

import os


class OpenFile:
    """Have one file open at most: `_fd`, or -1."""

    _fd = -1

    def close(self) -> None:
        """Close the file. In a forked child, that leaves a lock of the parent's as it is."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        try:  # noqa: SIM105 - what suppresses may be gone as well
            self.close()
        except AttributeError:  # the interpreter ends, and `os` is gone
            pass
