"""What is in the directory: names, headers and records.

The version is part of every name, so that another version's files are neither read nor touched.
A vector is float64 in the machine's order, its header as well: cell 0 and 1 are 8 bytes each.
"""

from __future__ import annotations

import errno
import os
import re
from struct import Struct

from prom_middleware.stores.base import Family

# Of every file of ours; those with the second one are the store's.
NAMES = "prom_middleware"
PREFIX = f"{NAMES}-"
STEM = f"{PREFIX}1."

DICTIONARY = STEM + "dictionary"
DAMAGED = DICTIONARY + ".damaged"
LOCK = STEM + "lock"
# What is being made: it gets its name when it is whole.
UNFINISHED = STEM + "new"
VECTOR = re.compile(re.escape(STEM) + r"(\d{4})\.vector", re.ASCII)
SLOTS = 10_000

DICTIONARY_MAGIC = b"PromDic\x01"
VECTOR_MAGIC = b"PromVec\x01"

# Magic, the dictionary's id, how many bytes of the file are committed.
DICTIONARY_HEADER = Struct("<8s8sQ")
COMMITTED = Struct("<Q")
COMMITTED_AT = 16
# Length and CRC-32 of the JSON that follows.
RECORD = Struct("<II")

# Magic, the dictionary's id, and six cells.
VECTOR_HEADER = Struct("=8s8s6d")
PID, GENERATION, SINCE, STATE = 2, 3, 4, 5
HEADER_CELLS = 8
CELL = 8

# Bits of the state: which of the two retired values is valid, and whether own values are void.
PARITY, CLEARING = 1, 2

# NONBLOCK: to open a FIFO that somebody put there must not wait for its other end.
FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

# What file systems answer that cannot reserve blocks.
UNSUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


def vector_name(slot: int) -> str:
    """Return the name of a slot's file."""
    return f"{STEM}{slot:04d}.vector"


def is_foreign(name: str) -> bool:
    """Tell whether a file looks like ours and is not: another version's, or none that we write."""
    ours = (DICTIONARY, DAMAGED, LOCK, UNFINISHED)
    return name.startswith(PREFIX) and name not in ours and not VECTOR.fullmatch(name)


def retires(family: Family) -> bool:
    """Tell whether a worker's values are kept when another takes its slot."""
    return bool(family.mode) and not family.live


def span(family: Family) -> int:
    """Return the cells of a block: own values, and twice those of earlier holders of the slot."""
    return family.width * (3 if retires(family) else 1)


def write_whole(fd: int, data: bytes, at: int) -> None:
    """Write all of `data`; a full disk may take a part of it without an error."""
    if os.pwrite(fd, data, at) != len(data):
        raise OSError(errno.ENOSPC, f"no space left for {len(data)} bytes")


def open_file(path: str) -> int:
    """Open a file of ours; for reading alone, where no more is allowed."""
    try:
        return os.open(path, os.O_RDWR | FLAGS)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        return os.open(path, os.O_RDONLY | FLAGS)


def reserve(fd: int, start: int, size: int) -> None:
    """Make sure that the file's blocks exist: a mapped hole on a full disk is a SIGBUS."""
    if size <= start:
        return
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, start, size - start)
            return
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
    for at in range(start, size, 65536):
        write_whole(fd, bytes(min(65536, size - at)), at)
