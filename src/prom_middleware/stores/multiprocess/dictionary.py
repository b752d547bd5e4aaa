"""Which block is where: records that are only ever appended, under the directory's lock.

A record is written behind the committed end and then published by one write of 8 bytes. What a
killed writer left behind that end is overwritten by the next one. Reading a record twice changes
nothing, so that a fork in the middle of it does no harm.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable
from time import time_ns
from typing import Any
from zlib import crc32

from prom_middleware.stores.base import Family, Labels, Settlement
from prom_middleware.stores.multiprocess.layout import (
    COMMITTED,
    COMMITTED_AT,
    DAMAGED,
    DICTIONARY,
    DICTIONARY_HEADER,
    DICTIONARY_MAGIC,
    HEADER_CELLS,
    RECORD,
    open_file,
    span,
    write_whole,
)
from prom_middleware.stores.multiprocess.making import create
from prom_middleware.stores.multiprocess.openfile import OpenFile

# A record has whole nanoseconds: to write a fraction takes ten times as long.
SECOND = 1e9
# What noise may lead to; no memory, or a time limit that a signal's handler raises, is none.
UNREADABLE = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, struct.error)

_quote = json.encoder.encode_basestring_ascii
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class DamagedError(Exception):
    """The committed part of the dictionary is not what was written."""


class Index:
    """The blocks that this process knows. The maps of offsets live as long as the store."""

    def __init__(self) -> None:
        self.offsets: dict[Family, dict[Labels, int]] = {}
        self.created: dict[int, float] = {}
        self.end = HEADER_CELLS

    def of(self, family: Family) -> dict[Labels, int]:
        """Return the living map of one family."""
        return self.offsets.setdefault(family, {})

    def families(self) -> list[tuple[Family, dict[Labels, int]]]:
        """Return the families there are now, and their maps: a door that is made adds its own."""
        return list(self.offsets.items())

    def add(self, family: Family, labels: Labels, offset: int, created: float) -> None:
        """Note a block."""
        self.created[offset] = created
        end = offset + span(family)
        if end > self.end:
            self.end = end
        self.of(family)[labels] = offset

    def clear(self) -> None:
        """Forget all blocks; callers keep the maps, so they are emptied where they are."""
        for _, offsets in self.families():
            offsets.clear()
        # Replaced, not cleared: a snapshot holds it.
        self.created = {}
        self.end = HEADER_CELLS


def _settlement(promised: int, kept: Iterable[int], into: int, *more: Iterable[int]) -> Settlement:
    return Settlement(promised, tuple(kept), into, *map(tuple, more))


class Dictionary(OpenFile):
    """The file, as far as it was read into `index`; that stays when it is closed."""

    def __init__(self, directory: str, index: Index) -> None:
        self._directory = directory
        self._path = os.path.join(directory, DICTIONARY)
        self._index = index
        self._size = 0
        self._families: dict[int, Family] = {}
        self._numbers: dict[Family, int] = {}
        self._position = DICTIONARY_HEADER.size
        self.id = b""

    def is_current(self) -> bool:
        """Tell whether the file that is open is the one that has the name."""
        if self._found() is None:
            return False
        try:
            found = os.lstat(self._path)
        except FileNotFoundError:
            return False
        self._size = found.st_size
        return (found.st_dev, found.st_ino) == self._opened

    def open(self) -> None:
        """Open the file, made if it is missing; `id` tells then whether it is another one."""
        self.close()
        try:
            fd = open_file(self._path)
        except FileNotFoundError:
            self._create()
            fd = open_file(self._path)
        try:
            number, _ = self._header(fd)
        except BaseException:
            os.close(fd)
            raise
        if number != self.id:
            self._families, self._numbers = {}, {}
            self._position, self.id = DICTIONARY_HEADER.size, number
        # Last: open, but without its id, it would pass for the current one.
        self._size = self._have(fd).st_size

    def refresh(self) -> None:
        """Read what others have committed since the file was looked at by `is_current` or `open`.

        Raises DamagedError if it is not what was written.
        """
        # Whoever reads a file and writes to it in turns has its times updated with each: twice the
        # price. A file that is as long as what was read of it has nothing else.
        if self._size == self._position:
            return
        number, committed = self._header(self._fd)
        if number != self.id:
            raise DamagedError(f"{self._path} has another header")
        # Noise, too: it must not make us ask for more than there is.
        if not self._position <= committed <= self._size:
            raise DamagedError(f"{self._path} was truncated")
        self._replay(os.pread(self._fd, committed - self._position, self._position))
        self._position = committed

    def _header(self, fd: int) -> tuple[bytes, int]:
        header = os.pread(fd, DICTIONARY_HEADER.size, 0)
        if len(header) < DICTIONARY_HEADER.size:
            raise DamagedError(f"{self._path} has no header")
        magic, number, committed = DICTIONARY_HEADER.unpack(header)
        if magic != DICTIONARY_MAGIC:
            raise DamagedError(f"{self._path} has another header")
        return number, committed

    def _replay(self, tail: bytes) -> None:
        at = 0
        try:
            while at < len(tail):
                size, checksum = RECORD.unpack_from(tail, at)
                at += RECORD.size + size
                payload = tail[at - size : at]
                if crc32(payload) != checksum or len(payload) != size:
                    raise DamagedError(f"{self._path} has a damaged record")
                self._read(*json.loads(payload))
        except UNREADABLE as error:
            raise DamagedError(f"{self._path} has a record that cannot be read") from error

    def _read(self, number: int, *record: Any) -> None:
        if len(record) == 3:
            labels, offset, created = record
            self._index.add(self._families[number], tuple(labels), offset, created / SECOND)
            return
        name, label_names, width, live, scope, bounds, kind, text, mode, settled = record
        settlement = settled and _settlement(*settled)
        family = Family(
            *(name, tuple(label_names), width, live, scope, tuple(bounds), kind, text, mode),
            settlement,
        )
        self._families[number], self._numbers[family] = family, number

    def add(self, family: Family, labels: Labels) -> int:
        """Append a block and return its offset; the lock is held, and `refresh` was called."""
        number = self._numbers.get(family)
        if number is None:
            number = self._add_family(family)
        offset, created = self._index.end, time_ns()
        # By hand: `json` makes a new encoder for every value that is no string.
        quoted = ",".join(map(_quote, labels))
        end = self._append(f"[{number},[{quoted}],{offset},{created}]")
        self._index.add(family, labels, offset, created / SECOND)
        self._position = end
        return offset

    def _add_family(self, family: Family) -> int:
        number = len(self._numbers)
        end = self._append(_encode((number, *family)))
        self._families[number], self._numbers[family] = family, number
        self._position = end
        return number

    def _append(self, text: str) -> int:
        """Return the new committed end: whoever is interrupted here reads the record later."""
        payload = text.encode()
        record = RECORD.pack(len(payload), crc32(payload)) + payload
        end = self._position + len(record)
        write_whole(self._fd, record, self._position)
        write_whole(self._fd, COMMITTED.pack(end), COMMITTED_AT)
        return end

    def set_aside(self) -> None:
        """Give the damaged file another name; an earlier one of that name is gone then."""
        os.rename(self._path, os.path.join(self._directory, DAMAGED))

    def _create(self) -> None:
        size = DICTIONARY_HEADER.size
        header = DICTIONARY_HEADER.pack(DICTIONARY_MAGIC, os.urandom(8), size)
        create(self._directory, DICTIONARY, header, size)
