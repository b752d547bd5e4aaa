"""The protocol buffers wire format: fields of messages, as bytes.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from struct import Struct

from prom_middleware.exposition.formats.escaping import encoded

_double = Struct("<d").pack
_SMALL = tuple(bytes((number,)) for number in range(128))


def varint(number: int) -> bytes:
    """Return a number in groups of 7 bits; a negative one as of 64 bits."""
    if 0 <= number < 128:
        return _SMALL[number]
    number &= (1 << 64) - 1
    groups = bytearray()
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def unsigned(field: int, number: int) -> bytes:
    """Return a field of type uint32, uint64, int64 or enum."""
    return varint(field << 3) + varint(number)


def signed(field: int, number: int) -> bytes:
    """Return a field of type sint32 or sint64."""
    return varint(field << 3) + varint(number << 1 if number >= 0 else ~(number << 1))


def double(field: int, number: float) -> bytes:
    """Return a field of type double."""
    return varint(field << 3 | 1) + _double(number)


def message(field: int, content: bytes) -> bytes:
    """Return a field that is a message of its own."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def text(field: int, content: str) -> bytes:
    """Return a field of type string."""
    return message(field, encoded(content))
