"""Bridges: a registry's numbers to another system, and another system's into a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prom_middleware.lazy import lazily

if TYPE_CHECKING:
    from prom_middleware.bridge.outgoing.bridge import Bridge
    from prom_middleware.bridge.outgoing.graphite_bridge import GraphiteBridge

__all__ = ["Bridge", "GraphiteBridge"]

_HOMES = {
    "Bridge": "prom_middleware.bridge.outgoing.bridge",
    "GraphiteBridge": "prom_middleware.bridge.outgoing.graphite_bridge",
}


__getattr__, __dir__ = lazily(__name__, _HOMES)
