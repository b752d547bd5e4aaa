"""Content codings of pushed bodies (RFC 9110 section 8.4), undone up to a limit of bytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from prom_middleware.pushgateway.bodies.errors import (
    BodyError,
    TooLargeError,
    UnknownCodingError,
)

_GZIP = 16 + zlib.MAX_WBITS
_GZIP_HEADER = 10  # bytes at least (RFC 1952 section 2.3)
# https://github.com/google/snappy/blob/main/framing_format.txt
_SNAPPY_STREAM = b"\xff\x06\x00\x00sNaPpY"
_SNAPPY_CHUNKS = (0, 1)  # compressed and not; what is more is padding, or may be skipped
_SNAPPY_SKIPPABLE = 0x80


def too_large(limit: int) -> TooLargeError:
    """Return what to raise for a body of more than `limit` bytes."""
    return TooLargeError(f"the body has more than {limit} bytes")


def undo(body: bytes, coding: str, limit: int) -> bytes:
    """Return a body without its content coding; unknown ones are left alone, as the original does.

    Raises BodyError for what is broken, TooLargeError for more than `limit` bytes.
    """
    decoded = _CODINGS.get(coding.lower(), _identity)(body, limit)
    if len(decoded) > limit:
        raise too_large(limit)
    return decoded


def _identity(body: bytes, limit: int) -> bytes:
    return body


def _gunzip(body: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    size, rest = 0, body
    while rest or not parts:
        part, rest = _member(rest, limit - size + 1)
        parts.append(part)
        size += len(part)
        if size > limit:
            raise too_large(limit)
    return b"".join(parts)


def _member(body: bytes, most: int) -> tuple[bytes, bytes]:
    """Return what the first member of a gzip file holds, and what stands after it.

    `most` bytes of it are enough to know that it is too much.
    """
    if not body:
        raise BodyError("EOF")
    if len(body) < _GZIP_HEADER:
        raise BodyError("unexpected EOF")
    decoder = zlib.decompressobj(_GZIP)
    try:
        part = decoder.decompress(body, most)
    except zlib.error as error:
        raise BodyError(_gzip_problem(str(error))) from None
    if not decoder.eof and len(part) < most:
        raise BodyError("unexpected EOF")
    return part, decoder.unused_data


def _gzip_problem(said: str) -> str:
    if "header" in said or "method" in said:
        return "gzip: invalid header"
    return "gzip: invalid checksum" if "check" in said else "flate: corrupt input"


def _unsnap(body: bytes, limit: int) -> bytes:
    """Undo Snappy: the framed format, which is the original's, or one block."""
    try:
        from cramjam import DecompressionError, snappy
    except ImportError:
        raise UnknownCodingError(
            'snappy needs a package: pip install "prom_middleware[snappy]"'
        ) from None
    framed = body.startswith(_SNAPPY_STREAM)
    try:
        return _frames(snappy, body, limit) if framed else _block(snappy, body, limit)
    except (DecompressionError, ValueError, IndexError) as error:
        raise BodyError("snappy: corrupt input") from error


def _block(snappy: Any, block: bytes, limit: int) -> bytes:
    if snappy.decompress_raw_len(block) > limit:
        raise too_large(limit)
    return bytes(snappy.decompress_raw(block))


def _frames(snappy: Any, body: bytes, limit: int) -> bytes:
    """Undo the framed format chunk by chunk: each one has 64 KiB at most."""
    parts: list[bytes] = []
    size, place = 0, len(_SNAPPY_STREAM)
    while place < len(body):
        kind, length = body[place], int.from_bytes(body[place + 1 : place + 4], "little")
        end = place + 4 + length
        if end > len(body):
            raise BodyError("unexpected EOF")
        if kind in _SNAPPY_CHUNKS:
            parts.append(bytes(snappy.decompress(_SNAPPY_STREAM + body[place:end])))
            size += len(parts[-1])
        elif kind < _SNAPPY_SKIPPABLE:
            raise BodyError("snappy: unsupported input")
        if size > limit:
            raise too_large(limit)
        place = end
    return b"".join(parts)


_CODINGS: dict[str, Callable[[bytes, int], bytes]] = {"gzip": _gunzip, "snappy": _unsnap}
