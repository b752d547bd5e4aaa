"""Bridges: a registry's numbers to another system, and another system's into a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prom_middleware.lazy import lazily

if TYPE_CHECKING:
    from prom_middleware.bridge.incoming.graphite import GraphiteCollector
    from prom_middleware.bridge.incoming.mapping_file import load_mapping
    from prom_middleware.bridge.incoming.opentelemetry import OpenTelemetryReader
    from prom_middleware.bridge.incoming.statsd import StatsdCollector
    from prom_middleware.bridge.outgoing.bridge import Bridge
    from prom_middleware.bridge.outgoing.graphite_bridge import GraphiteBridge

__all__ = [
    "Bridge",
    "GraphiteBridge",
    "GraphiteCollector",
    "OpenTelemetryReader",
    "StatsdCollector",
    "load_mapping",
]

_HOMES = {
    "Bridge": "prom_middleware.bridge.outgoing.bridge",
    "GraphiteBridge": "prom_middleware.bridge.outgoing.graphite_bridge",
    "GraphiteCollector": "prom_middleware.bridge.incoming.graphite",
    "OpenTelemetryReader": "prom_middleware.bridge.incoming.opentelemetry",
    "StatsdCollector": "prom_middleware.bridge.incoming.statsd",
    "load_mapping": "prom_middleware.bridge.incoming.mapping_file",
}


__getattr__, __dir__ = lazily(__name__, _HOMES)
