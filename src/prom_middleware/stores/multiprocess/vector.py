"""A worker's slot: a file that is its own for as long as it holds the file's lock.

The lock belongs to an open file description, and so does not go to the one that is mapped: `mmap`
keeps a copy of the descriptor that it is given, which a forked child could not close.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from mmap import mmap

from prom_middleware import failures
from prom_middleware.stores.multiprocess.layout import (
    CELL,
    FLAGS,
    HEADER_CELLS,
    SLOTS,
    VECTOR_HEADER,
    VECTOR_MAGIC,
    reserve,
    vector_name,
)
from prom_middleware.stores.multiprocess.locking import try_flock
from prom_middleware.stores.multiprocess.making import create
from prom_middleware.stores.multiprocess.openfile import OpenFile

STEP = 65536
# A full disk, a quota, a limit on how long files may be: less may fit.
NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


_never_ended: list[memoryview[float]] = []


class Vector(OpenFile):
    """One slot, locked until it is closed; its cells are there when it was mapped.

    The mapping stays for as long as anybody has `cells`: an interrupted frame may.
    """

    def __init__(self, path: str, slot: int, number: bytes, fd: int) -> None:
        self.slot = slot
        self.cells: memoryview[float] = memoryview(b"").cast("d")
        self._header = memoryview(b"")
        self._path = path
        self._expected = VECTOR_MAGIC + number
        self._have(fd)

    def cover(self, end: int) -> None:
        """Have at least `end` cells mapped; on a full disk OSError, and nothing has changed."""
        if end <= len(self.cells) > 0:
            return
        size = os.fstat(self._fd).st_size
        if size < max(end, HEADER_CELLS) * CELL:
            size = self._grow(size, max(end, HEADER_CELLS) * CELL)
        self._map(size - size % CELL)

    def _lose(self) -> None:
        super()._lose()
        # A mapping has a descriptor of its own, which is not ours any more either: it closes that
        # number at its end.
        _never_ended.append(self.cells)

    def _grow(self, size: int, needed: int) -> int:
        roomy = -(-max(needed, size + STEP, size * 3 // 2) // STEP) * STEP
        if roomy > needed:
            try:
                reserve(self._fd, size, roomy)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
            else:
                return roomy
        reserve(self._fd, size, needed)
        return needed

    def _map(self, size: int) -> None:
        fd = os.open(self._path, os.O_RDWR | FLAGS)
        try:
            if not os.path.samestat(os.fstat(fd), os.fstat(self._fd)):
                raise OSError(errno.ESTALE, "another file has the name of the slot", self._path)
            mapped = memoryview(mmap(fd, size))
            self.cells, self._header = mapped.cast("d"), mapped[:16]
        finally:
            os.close(fd)

    def read(self, read: Callable[[int], bytes]) -> bytes:
        """Return what `read` finds in the file; nothing if it is noise."""
        data = read(self._fd)
        return data if data.startswith(self._expected) else b""

    def is_linked(self) -> bool:
        """Tell whether the file has a name."""
        found = self._found()
        return found is not None and found.st_nlink > 0

    def is_sound(self) -> bool:
        """Tell whether the file is still ours and can be found; if not, it must not be touched.

        One that was cut is made as long as it was, if there is room.
        """
        found = self._found()
        if found is None:
            failures.report("store", OSError(errno.EBADF, "somebody closed", self._path))
            return False
        try:
            if found.st_size < len(self.cells) * CELL:
                self._lengthen(found.st_size)
        except OSError as error:
            failures.report("store", error)
            return False
        if found.st_nlink and self._header == self._expected:
            return True
        failures.report("store", OSError(f"{self._path} was deleted or overwritten"))
        return False

    def _lengthen(self, size: int) -> None:
        reserve(self._fd, size, len(self.cells) * CELL)
        failures.report("store", OSError(errno.EIO, "somebody truncated", self._path))


def has_header(fd: int, number: bytes) -> bool:
    """Tell whether a file is a vector of the dictionary with the id `number`."""
    header = os.pread(fd, VECTOR_HEADER.size, 0)
    return header[:16] == VECTOR_MAGIC + number and len(header) == VECTOR_HEADER.size


def take_slot(directory: str, number: bytes) -> Vector:
    """Lock the first slot that no living process has; the directory's lock is held."""
    for slot in range(SLOTS):
        path = os.path.join(directory, vector_name(slot))
        fd = _lock(directory, path, slot, number)
        if fd is not None:
            return Vector(path, slot, number, fd)
    raise OSError(errno.EUSERS, "no slot is free in", directory)


def _lock(directory: str, path: str, slot: int, number: bytes) -> int | None:
    fd = _open_locked(path, number)
    if fd == MISSING:
        create(directory, vector_name(slot), new_header(number), STEP)
        fd = _open_locked(path, number)
        if fd == MISSING:  # where the next slot would fare no better, and there are thousands
            raise OSError(errno.EIO, "what was just made there cannot be read", path)
    return fd if fd >= 0 else None


MISSING, TAKEN = -2, -1


def _open_locked(path: str, number: bytes) -> int:
    # MISSING also stands for a file that is to be replaced: another dictionary's, or noise.
    try:
        fd = os.open(path, os.O_RDWR | FLAGS)
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        if error.errno not in NOT_OURS:
            raise
        failures.report("store.foreign", error)
        return TAKEN
    return _claimed(fd, path, number)


# A symbolic link, a directory, a socket, another user's.
NOT_OURS = {errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EMLINK, errno.EACCES}


def _claimed(fd: int, path: str, number: bytes) -> int:
    found = TAKEN
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            failures.report("store.foreign", OSError(errno.EINVAL, "not a file", path))
        elif try_flock(fd):
            found = fd if has_header(fd, number) else MISSING
    finally:
        if found != fd:
            os.close(fd)
    return found


def new_header(number: bytes) -> bytes:
    """Return the header of a slot that nobody has held yet."""
    return VECTOR_HEADER.pack(VECTOR_MAGIC, number, *([0.0] * (HEADER_CELLS - 2)))
