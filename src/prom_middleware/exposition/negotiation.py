"""Which format, and which coding, the answer to a scrape has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client import Metric as MetricFamily

from prom_middleware.exposition import text


class Format(NamedTuple):
    """One way to write families: the Content-Type to announce, and what writes them in slices."""

    content_type: str
    render: Callable[[Iterable[MetricFamily]], Iterator[bytes]]


def negotiate(accept: str) -> Format:
    """Return the format for an Accept header (RFC 9110 section 12.5.1); never raises."""
    return Format(text.CONTENT_TYPE, text.render)


def coding_of(accept_encoding: str) -> str:
    """Return the content coding for an Accept-Encoding header: gzip, zstd, or identity."""
    return "identity"
