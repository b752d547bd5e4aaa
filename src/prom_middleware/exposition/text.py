"""The text format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from prometheus_client import generate_latest
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"


def render(registry: Collector) -> bytes:
    """Return what `registry` collects, as UTF-8 lines."""
    return generate_latest(registry)  # type: ignore[arg-type, unused-ignore]
