"""Families as values that can be compared: NaN is not NaN, and times are of several kinds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client import Metric

# What does not differ between two readers of one page.
Shown = tuple[Any, ...]


def shown(families: Iterable[Metric]) -> list[Shown]:
    """Return all that families say, with the order of labels left out."""
    return [
        (one.name, one.type, one.unit, one.documentation, [_sample(found) for found in one.samples])
        for one in families
    ]


def _sample(sample: Any) -> Shown:
    labels = None if sample.labels is None else sorted(sample.labels.items())
    native = getattr(sample, "native_histogram", None)
    value = None if sample.value is None else repr(float(sample.value) + 0.0)  # not -0
    return sample.name, labels, value, _time(sample.timestamp), _exemplar(sample.exemplar), native


def _time(time: Any) -> float | None:
    return None if time is None else float(time)


def _exemplar(exemplar: Any) -> Shown | None:
    if exemplar is None:
        return None
    value = repr(float(exemplar.value) + 0.0)
    return sorted(exemplar.labels.items()), value, _time(exemplar.timestamp)
