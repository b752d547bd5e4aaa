"""The protocol buffers wire format: what fields a message has.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from prom_middleware.errors import ParseError

_double, _fixed32 = Struct("<d").unpack_from, Struct("<I").unpack_from
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# A field's value: an integer, the 8 bytes of a double as such, or the part of the body that has it.
Value = int | float | tuple[int, int]


def damaged(at: int, expected: str) -> ParseError:
    """Return the error for what is `at` a place of the body, in the words of Go's protobuf."""
    return ParseError("cannot parse invalid wire-format data", None, at + 1, expected)


def varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a number in groups of 7 bits, and where it ends. Raises ParseError."""
    found = shift = 0
    for place in range(at, min(at + 10, end)):
        byte = body[place]
        found |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return found & (1 << 64) - 1, place + 1
    raise damaged(at, "a number of at most 10 bytes")


def fields(body: bytes, at: int, end: int) -> Iterator[tuple[int, int, Value]]:
    """Yield the number, the place and the value of each field. Raises ParseError."""
    while at < end:
        start = at
        key, at = varint(body, at, end)
        field, kind = key >> 3, key & 7
        if not field:
            raise damaged(start, "a field's number, which is not 0")
        if kind == _VARINT:
            value, at = varint(body, at, end)
            yield field, start, value
        elif kind == _FIXED64:
            yield field, start, double_at(body, at, end)
            at += 8
        elif kind == _BYTES:
            length, at = varint(body, at, end)
            if length > end - at:
                raise damaged(start, f"{length} bytes, where there are {end - at}")
            yield field, start, (at, at + length)
            at += length
        elif kind == _FIXED32 and at + 4 <= end:
            yield field, start, int(_fixed32(body, at)[0])
            at += 4
        else:
            raise damaged(start, "a field of a known kind")


def double_at(body: bytes, at: int, end: int) -> float:
    """Return the double that is `at` a place. Raises ParseError."""
    if at + 8 > end:
        raise damaged(at, "8 bytes of a double")
    return float(_double(body, at)[0])


def signed(number: int) -> int:
    """Return what a number means as sint32 or sint64."""
    return number >> 1 ^ -(number & 1)


def int64(number: int) -> int:
    """Return what a number means as int64."""
    return number - (1 << 64) if number >> 63 else number
