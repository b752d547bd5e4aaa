"""Bodies in codings, slice by slice."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

from prom_middleware.exposition import compression, negotiation
from prom_middleware.exposition.compression import compress
from prom_middleware.exposition.negotiation import coding_of

PIECES = [b"a" * 10, b"", b"http_requests_total 1.0\n" * 10_000, b"z"]


def unzstd(body: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")

    return zstandard.ZstdDecompressor().decompressobj().decompress(body)


DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "zstd": unzstd,
}
MODULES = ("compression.zstd", "backports.zstd", "zstandard")


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what leaves some of the modules that have zstd."""

    def leave(*names: str) -> None:
        def importing(name: str) -> Any:
            if name not in names:
                raise ModuleNotFoundError(name)
            return import_module(name)

        monkeypatch.setattr(compression, "import_module", importing)
        monkeypatch.setattr(compression, "_zstd", compression.find_zstd())
        found = ("identity", "zstd", "gzip") if compression._zstd else ("identity", "gzip")
        monkeypatch.setattr(negotiation, "CODINGS", found)

    return leave


@pytest.mark.parametrize("coding", DECODERS)
def test_what_is_coded_can_be_decoded(coding: str) -> None:
    pieces = list(compress(iter(PIECES), coding))
    assert DECODERS[coding](b"".join(pieces)) == b"".join(PIECES)
    assert len(pieces) >= len(PIECES)


@pytest.mark.parametrize("coding", DECODERS)
def test_of_nothing(coding: str) -> None:
    assert DECODERS[coding](b"".join(compress([], coding))) == b""


@pytest.mark.parametrize("module", MODULES)
def test_every_module_that_has_zstd(module: str, only: Callable[..., None]) -> None:
    if module == "compression.zstd" and sys.version_info < (3, 14):
        pytest.skip("Python 3.14 has it")
    pytest.importorskip(module)
    only(module)
    assert coding_of("gzip, zstd") == "zstd"
    assert unzstd(b"".join(compress(iter(PIECES), "zstd"))) == b"".join(PIECES)


def test_without_zstd(only: Callable[..., None]) -> None:
    only()
    assert coding_of("zstd, gzip;q=0.1") == "gzip"
    assert coding_of("zstd") == "identity"


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_every_slice_is_a_step(coding: str) -> None:
    """Whoever waits for the next slice is not held up by those that are coded in between."""
    taken: list[bytes] = []

    def slices() -> Iterator[bytes]:
        for _ in range(20):
            taken.append(b"a")
            yield b"a"

    steps = compress(slices(), coding)
    for number in range(1, 21):
        next(steps)
        assert len(taken) == number


def test_long_slices_are_coded_in_parts() -> None:
    steps = compress([b"abc" * 100_000], "gzip")
    assert len(list(steps)) > 5
