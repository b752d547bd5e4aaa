"""Lines into a receiver, and what is then shown of them."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from bridge.systems import Samples, page
from prom_middleware.bridge.incoming.mapping_file import parse_mapping
from prom_middleware.bridge.incoming.receiver import Receiver
from prom_middleware.bridge.incoming.statsd import StatsdCollector


def received(*lines: str | bytes, mapping: str = "") -> tuple[Samples, Mapping[str, float]]:
    """Return the samples that StatsD's lines make, and what is lost by reason."""
    registry = CollectorRegistry()
    rules = parse_mapping(mapping) if mapping else None
    receiver = StatsdCollector(rules, registry)
    receiver.receive([line.encode() if isinstance(line, str) else line for line in lines])
    return shown(registry, receiver)


def shown(registry: CollectorRegistry, receiver: Receiver) -> tuple[Samples, Mapping[str, float]]:
    """Return what a receiver has received, and what it has lost by reason."""
    own = f"prom_middleware_{receiver.protocol}_"
    samples = page(registry)
    lost = {
        dict(labels)["reason"]: value
        for (name, labels), value in samples.items()
        if name == own + "lost_total"
    }
    return {key: value for key, value in samples.items() if not key[0].startswith(own)}, lost


def sample(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())
