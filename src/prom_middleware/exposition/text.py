"""The text format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from prometheus_client import Metric, generate_latest
from prometheus_client.registry import Collector

from prom_middleware.instrumentation.families import BlockFamily

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"


def render(registry: Collector) -> bytes:
    """Return what `registry` collects, as UTF-8 lines, in its order."""
    groups = groupby(registry.collect(), lambda family: isinstance(family, BlockFamily))
    return b"".join([_RENDERERS[ours](families) for ours, families in groups])


def _blocks(families: Iterable[Any]) -> bytes:
    return "".join([family.text() for family in families]).encode()


def _others(families: Iterable[Any]) -> bytes:
    return generate_latest(_Collected(families))  # type: ignore[arg-type, unused-ignore]


_RENDERERS: dict[bool, Callable[[Iterable[Any]], bytes]] = {True: _blocks, False: _others}


class _Collected(Collector):
    """What `generate_latest` takes in the place of a registry."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._families
