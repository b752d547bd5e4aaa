"""A metric family of `prometheus_client`, made of what was checked before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from prometheus_client import Metric as MetricFamily
from prometheus_client.metrics_core import METRIC_TYPES
from prometheus_client.samples import Exemplar, Sample

# What families of a type are, for `prometheus_client`.
KINDS = {kind: kind for kind in METRIC_TYPES} | {"untyped": "unknown"}
KINDS["gauge_histogram"] = "gaugehistogram"
# Half the time of the constructor, which is written in Python.
sample = cast("Callable[[type, Any], Sample]", tuple.__new__)
new_exemplar = cast("Callable[[type, Any], Exemplar]", tuple.__new__)
_make = MetricFamily.__new__


def family(
    name: str, documentation: str, kind: str, samples: list[Sample], unit: str = ""
) -> MetricFamily:
    """Return a family; a type that nobody knows is `unknown`."""
    # Not constructed: that looks at the name again, and in 0.20 refuses those in UTF-8.
    made = _make(MetricFamily)
    made.name, made.documentation, made.unit = name, documentation, unit
    made.type = KINDS.get(kind, "unknown")
    made.samples = samples
    return made
