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
    for module in ("compression.zstd", "backports.zstd", "zstandard"):
        try:
            compressor = import_module(module).ZstdCompressor
        except ImportError:
            continue
        if module == "zstandard":
            return lambda: compressor(level=LEVEL).compressobj()
        return lambda: compressor(level=LEVEL)
    return None


_zstd = find_zstd()
# What makes a compressor of each coding that there is, those that cost less before others.
_MAKERS: dict[str, Callable[[], Any]] = {**({"zstd": _zstd} if _zstd else {}), "gzip": _zlib}
CODINGS = ("identity", *_MAKERS)


def compress(slices: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """Yield `slices` in the content coding `coding`, in slices as short as they came.

    There is at least one for each, empty or not.
    """
    if coding == "identity":
        yield from slices
        return
    compressor = _MAKERS[coding]()
    for piece in slices:
        for start in range(0, len(piece) or 1, LONGEST):
            yield compressor.compress(piece[start : start + LONGEST])
    yield compressor.flush()
