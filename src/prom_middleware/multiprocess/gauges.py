"""What gauges of several processes are together, by their mode."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

Series = tuple[str, frozenset[tuple[str, str]]]
Timed = tuple[Sample, float | None]


class GaugeFamily(Metric):
    """A gauge of several processes: its mode, and when each of its samples was set.

    Times are in Unix seconds, 0 unless the mode is mostrecent, None where nobody has set it.
    """

    def __init__(self, name: str, documentation: str, unit: str, mode: str) -> None:
        super().__init__(name, documentation, "gauge", unit)
        self.mode = mode.removeprefix("live")
        self.times: list[float | None] = []

    def _restricted_metric(self, names: Container[str]) -> GaugeFamily | None:
        # In place of a copy, which would have neither mode nor times.
        return self if self.name in names and self.samples else None


def times_of(gauge: Any) -> dict[Series, float]:
    """Return when each series was set last, given what was read of files and is not merged yet."""
    found: dict[Series, float] = {}
    if gauge._multiprocess_mode.endswith("mostrecent"):
        for sample in gauge.samples:
            labels = frozenset(pair for pair in sample.labels if pair[0] != "pid")
            key = sample.name, labels
            found[key] = max(found.get(key, 0.0), float(sample.timestamp or 0))
    return found


def of_files(merged: Any, times: dict[Series, float]) -> GaugeFamily:
    """Return what was merged of files, with the times when it was set."""
    family = GaugeFamily(merged.name, merged.documentation, "", merged._multiprocess_mode)
    family.samples = merged.samples
    family.times += [times.get(series_of(sample), 0.0) for sample in merged.samples]
    return family


def together(family: GaugeFamily, found: GaugeFamily) -> GaugeFamily:
    """Return `family` with what is `found` elsewhere; alone, if that has another mode."""
    if family.mode != found.mode:
        return family
    samples = _timed(family)
    for key, other in _timed(found).items():
        one = samples.get(key)
        if one is None or one[1] is None:
            samples[key] = other
        elif other[1] is not None:
            samples[key] = FOLDS[family.mode](one, other)
    family.samples, family.times = [one for one, _ in samples.values()], []
    family.times += [when for _, when in samples.values()]
    return family


def _timed(family: GaugeFamily) -> dict[Series, Timed]:
    timed = zip(family.samples, family.times, strict=True)
    return {series_of(sample): (sample, when) for sample, when in timed}


def _sum(one: Timed, other: Timed) -> Timed:
    return one[0]._replace(value=one[0].value + other[0].value), one[1]


def _value(one: Timed) -> float:
    return one[0].value


def _time(one: Timed) -> float:
    return one[1] or 0.0


# What one sample is of what both have set, by the gauge's mode.
FOLDS: dict[str, Callable[[Timed, Timed], Timed]] = {
    "all": lambda one, other: one,
    "sum": _sum,
    "min": lambda one, other: min(one, other, key=_value),
    "max": lambda one, other: max(one, other, key=_value),
    "mostrecent": lambda one, other: max(one, other, key=_time),
}


def series_of(sample: Sample) -> Series:
    """Return what tells a series from others."""
    # A collector may say None where there are no labels.
    return sample.name, frozenset((sample.labels or {}).items())
