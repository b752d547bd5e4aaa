"""Content codings (RFC 9110 section 8.4)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

# The cheapest: text shrinks to a 22nd, at level 6, the usual one, to a 30th in twice the time.
LEVEL = 1
# What is given to a compressor at once, in bytes: some tenths of a millisecond.
LONGEST = 32 * 1024
_GZIP = 16 + zlib.MAX_WBITS


def _zlib() -> Any:
    return zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)


def find_zstd() -> Callable[[], Any] | None:
    """Return what makes a compressor, of Python's own module, or one of two packages."""
    for module, name in (
        ("compression.zstd", "ZstdCompressor"),
        ("backports.zstd", "ZstdCompressor"),
        ("zstandard", "ZstdCompressor"),
    ):
        try:
            compressor = getattr(import_module(module), name)
        except ImportError:
            continue
        if module == "zstandard":
            return lambda: compressor(level=LEVEL).compressobj()
        return lambda: compressor(level=LEVEL)
    return None


_zstd = find_zstd()
# The codings that there are, those that cost less to make before others.
CODINGS = ("identity", "zstd", "gzip") if _zstd else ("identity", "gzip")


def compress(slices: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """Yield `slices` in the content coding `coding`, in slices as short as they came.

    There is at least one for each, empty or not.
    """
    if coding == "identity":
        yield from slices
        return
    compressor = _zlib() if coding == "gzip" else _compressor()
    for piece in slices:
        for start in range(0, len(piece) or 1, LONGEST):
            yield compressor.compress(piece[start : start + LONGEST])
    yield compressor.flush()


def _compressor() -> Any:
    if _zstd is None:
        raise LookupError("zstd: neither this Python nor a package has it")
    return _zstd()
