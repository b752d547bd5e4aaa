"""The bridge under the name and with the arguments that users of prometheus_client know."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from prom_middleware.bridge.outgoing.bridge import Bridge
from prom_middleware.bridge.outgoing.collecting import families_of
from prom_middleware.bridge.outgoing.graphite import Address, Graphite
from prom_middleware.bridge.outgoing.paths import PLAIN, STRICTLY_TAGGED


class GraphiteBridge:
    """Sends a registry's samples to Graphite, under the paths of `prometheus_client`'s bridge.

    `timeout_seconds` is for one attempt to connect and send. What it does more: a connection that
    is kept, a buffer and retries once it was started, and no two series under one path.
    """

    def __init__(
        self,
        address: Address,
        registry: Collector = REGISTRY,
        timeout_seconds: float = 30,
        _timer: Callable[[], float] = time.time,
        tags: bool = False,
    ) -> None:
        self._graphite = Graphite(address, STRICTLY_TAGGED if tags else PLAIN)
        self._registry = registry
        self._timeout = timeout_seconds
        self._timer = _timer
        self._bridge: Bridge | None = None

    def push(self, prefix: str = "") -> None:
        """Send once, now; raise OSError."""
        self._graphite.prefix = prefix
        batch = self._graphite.batch(families_of(self._registry, self._timeout), self._timer())
        try:
            self._graphite.send(batch, self._timeout)
        finally:
            self._graphite.close()

    def start(self, interval: float = 60.0, prefix: str = "") -> None:
        """Send every `interval` seconds from a thread of its own until `stop`, once only."""
        if self._bridge is not None and self._bridge.is_started:
            return
        self._graphite.prefix = prefix
        self._bridge = Bridge(
            self._graphite, self._registry, interval=interval, timeout=self._timeout
        ).start()

    def stop(self, timeout: float = 5.0) -> None:
        """Send what there is in `timeout` seconds, and end."""
        if self._bridge is not None:
            self._bridge.stop(timeout)
