"""Which format, and which coding, the answer to a scrape has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client import Metric as MetricFamily

from prom_middleware.exposition import text


class Format(NamedTuple):
    """One way to write families: the Content-Type to announce, and what writes one in slices.

    `family` raises for a family that cannot be written, which is then to be left out whole: what it
    has yielded of that family by then must not be sent. `end` stands after the last family.
    """

    content_type: str
    family: Callable[[MetricFamily], Iterator[bytes]]
    end: bytes = b""

    def render(self, families: Iterable[MetricFamily]) -> Iterator[bytes]:
        """Yield `families`; raise for the first one that cannot be written."""
        for family in families:
            yield from self.family(family)
        if self.end:
            yield self.end


def negotiate(accept: str) -> Format:
    """Return the format for an Accept header (RFC 9110 section 12.5.1); never raises."""
    return Format(text.CONTENT_TYPE, text.family)


def coding_of(accept_encoding: str) -> str:
    """Return the content coding for an Accept-Encoding header: gzip, zstd, or identity."""
    return "identity"
