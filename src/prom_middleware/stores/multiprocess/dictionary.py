"""Which block is where: records that are only ever appended, under the directory's lock.

A record is written behind the committed end and then published by one write of 8 bytes. What a
killed writer left behind that end is overwritten by the next one. Reading a record twice changes
nothing, so that a fork in the middle of it does no harm.
"""

from __future__ import annotations

import json
import os
from time import time
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
    create,
    open_file,
    span,
    write_whole,
)

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

    def add(self, family: Family, labels: Labels, offset: int, created: float) -> None:
        """Note a block."""
        self.created[offset] = created
        self.end = max(self.end, offset + span(family))
        self.of(family)[labels] = offset

    def clear(self) -> None:
        """Forget all blocks; callers keep the maps, so they are emptied where they are."""
        for offsets in self.offsets.values():
            offsets.clear()
        # Replaced, not cleared: a snapshot holds it.
        self.created = {}
        self.end = HEADER_CELLS


class Dictionary:
    """The file, as far as it was read into `index`."""

    def __init__(self, directory: str, index: Index) -> None:
        self._directory = directory
        self._path = os.path.join(directory, DICTIONARY)
        self._index = index
        self._fd = -1
        self._file = (0, 0)
        self._families: dict[int, Family] = {}
        self._numbers: dict[Family, int] = {}
        self._position = DICTIONARY_HEADER.size
        self.id = b""

    def is_current(self) -> bool:
        """Tell whether the file that is open is the one that has the name."""
        if self._fd < 0:
            return False
        try:
            found = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == self._file

    def open(self) -> None:
        """Open the file, made if it is missing; `id` tells then whether it is another one."""
        self.close()
        try:
            self._fd = open_file(self._path)
        except FileNotFoundError:
            self._create()
            self._fd = open_file(self._path)
        found = os.fstat(self._fd)
        self._file = found.st_dev, found.st_ino
        number, _ = self._header()
        if number != self.id:
            self._families, self._numbers = {}, {}
            self._position, self.id = DICTIONARY_HEADER.size, number

    def close(self) -> None:
        """Close the file; what was read of it stays."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        try:  # noqa: SIM105 - what suppresses may be gone as well
            self.close()
        except AttributeError:  # the interpreter ends, and `os` is gone
            pass

    def refresh(self) -> None:
        """Read what others have committed since; DamagedError if it is not what was written."""
        number, committed = self._header()
        if number != self.id:
            raise DamagedError(f"{self._path} has another header")
        missing = committed - self._position
        if not missing:
            return
        tail = os.pread(self._fd, missing, self._position) if missing > 0 else b""
        if len(tail) != missing:
            raise DamagedError(f"{self._path} was truncated")
        self._replay(tail)
        self._position = committed

    def _header(self) -> tuple[bytes, int]:
        header = os.pread(self._fd, DICTIONARY_HEADER.size, 0)
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
        except DamagedError:
            raise
        except Exception as error:
            raise DamagedError(f"{self._path} has a record that cannot be read") from error

    def _read(self, number: int, *record: Any) -> None:
        if len(record) == 3:
            labels, offset, created = record
            self._index.add(self._families[number], tuple(labels), offset, created)
            return
        name, label_names, width, live, scope, bounds, kind, text, mode, settled = record
        settlement = settled and Settlement(settled[0], tuple(settled[1]), settled[2])
        family = Family(
            *(name, tuple(label_names), width, live, scope, tuple(bounds), kind, text, mode),
            settlement,
        )
        self._families[number], self._numbers[family] = family, number

    def add(self, family: Family, labels: Labels) -> int:
        """Append a block and return its offset; the lock is held, and `refresh` was called."""
        index, records = self._index, b""
        number = self._numbers.get(family)
        if number is None:
            number = len(self._numbers)
            records = _record(number, *family)
        offset, created = index.end, time()
        records += _framed(_block(number, labels, offset, created))
        write_whole(self._fd, records, self._position)
        committed = self._position + len(records)
        write_whole(self._fd, COMMITTED.pack(committed), COMMITTED_AT)
        self._families[number], self._numbers[family] = family, number
        index.add(family, labels, offset, created)
        self._position = committed
        return offset

    def set_aside(self) -> None:
        """Give the damaged file another name; an earlier one of that name is gone then."""
        os.rename(self._path, os.path.join(self._directory, DAMAGED))

    def _create(self) -> None:
        size = DICTIONARY_HEADER.size
        header = DICTIONARY_HEADER.pack(DICTIONARY_MAGIC, os.urandom(8), size)
        create(self._directory, DICTIONARY, header, size)


def _record(*values: Any) -> bytes:
    return _framed(_encode(values).encode())


def _block(number: int, labels: Labels, offset: int, created: float) -> bytes:
    # By hand: `json` makes a new encoder for every value that is no string.
    quoted = ",".join(map(_quote, labels))
    return f"[{number},[{quoted}],{offset},{created!r}]".encode()


def _framed(payload: bytes) -> bytes:
    return RECORD.pack(len(payload), crc32(payload)) + payload
