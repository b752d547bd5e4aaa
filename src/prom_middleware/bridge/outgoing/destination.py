"""What a system has to be able to do, and which one a URL means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol, runtime_checkable
from urllib.parse import SplitResult, urlsplit

from prometheus_client import Metric as MetricFamily

from prom_middleware.bridge.outgoing.buffer import Batch
from prom_middleware.errors import OptionError
from prom_middleware.logins import said, shown

GRAPHITE_PORT = 2003
OTLP_PATH = "/v1/metrics"
OTLP = {"otlp+http": "http", "otlp+https": "https", "http": "http", "https": "https"}


@runtime_checkable
class Destination(Protocol):
    """A system that takes samples."""

    name: str  # what the bridge's own metrics call it; without passwords

    @property
    def collisions(self) -> int:
        """How many series were given another name to keep them apart."""

    def batch(self, families: Iterable[MetricFamily], now: float) -> Batch:
        """Return what is to be sent of `families`; `now` is Unix time in seconds."""

    def send(self, batch: Batch, timeout: float) -> None:
        """Send; raise OSError if that fails or takes more than `timeout` seconds."""

    def close(self) -> None:
        """Close the connection."""


def destination(url: str, *, tags: bool = False, prefix: str = "") -> Destination:
    """Return what `graphite://HOST[:PORT]`, `otlp+http://HOST:PORT[/PATH]` or a URL of OTLP means.

    `tags` and `prefix` are Graphite's. Raises OptionError.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise OptionError(said(url, error)) from None
    if not parts.hostname:
        # As a URL, "carbon:2003" has the scheme carbon; a host and a port are meant.
        hint = f": give graphite://{url}" if re.fullmatch(r"[\w.-]+(:\d+)?", url) else ""
        raise OptionError(f"{shown(url)!r} has no host{hint}")
    if parts.scheme == "graphite":
        return _graphite(parts, GRAPHITE_PORT if port is None else port, tags, prefix)
    if parts.scheme not in OTLP:
        known = ", ".join(("graphite", *OTLP))
        raise OptionError(f"{shown(url)!r}: a bridge leads to one of these: {known}")
    if tags or prefix:
        raise OptionError(f"{shown(url)!r}: tags and a prefix are Graphite's")
    return _otlp(parts)


def _graphite(parts: SplitResult, port: int, tags: bool, prefix: str) -> Destination:
    from prom_middleware.bridge.outgoing.graphite import Graphite
    from prom_middleware.bridge.outgoing.paths import PLAIN, TAGGED

    if parts.path.strip("/") or parts.query or parts.username is not None:
        raise OptionError(f"{shown(parts.geturl())!r} is not graphite://HOST[:PORT]")
    return Graphite((parts.hostname or "", port), TAGGED if tags else PLAIN, prefix)


def _otlp(parts: SplitResult) -> Destination:
    from prom_middleware.bridge.outgoing.otlp import Otlp

    path = parts.path if parts.path.strip("/") else OTLP_PATH
    return Otlp(parts._replace(scheme=OTLP[parts.scheme], path=path).geturl())
