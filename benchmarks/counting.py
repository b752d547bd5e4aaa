"""How many requests a contender has counted: a figure without its counts is void."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol


class Count(Hashable, Protocol):
    """Equal where two contenders count into the same place."""

    def __call__(self) -> float: ...


@dataclass(frozen=True)
class Samples:
    """The sum of the samples of a `prometheus_client` registry with these label values."""

    registry: Any
    name: str
    labels: tuple[tuple[str, str], ...] = ()

    def __call__(self) -> float:
        return sum(
            sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == self.name and set(self.labels) <= set(sample.labels.items())
        )


def samples(registry: Any, name: str, **labels: str) -> Samples:
    """Return a count of samples."""
    return Samples(registry, name, tuple(sorted(labels.items())))


@dataclass(frozen=True)
class Points:
    """The count of an OpenTelemetry histogram, over the points with these attributes."""

    reader: Any
    name: str
    attributes: tuple[tuple[str, str], ...] = ()

    def __call__(self) -> float:
        data = self.reader.get_metrics_data()
        return sum(
            point.count
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == self.name
            for point in metric.data.data_points
            if set(self.attributes)
            <= {(key, str(value)) for key, value in point.attributes.items()}
        )


# OpenTelemetry's default semantic conventions: the route's template is in `http.target`.
OTEL_DURATION = "http.server.duration"


def otel() -> tuple[Any, Callable[..., Points]]:
    """Return a MeterProvider of its own, and what counts in it; tracing stays off."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()

    def points(target: str | None = None) -> Points:
        attributes = {"http.method": "GET", "http.status_code": "200"}
        if target is not None:
            attributes["http.target"] = target
        return Points(reader, OTEL_DURATION, tuple(attributes.items()))

    return MeterProvider(metric_readers=[reader]), points


@dataclass(frozen=True)
class Called:
    """What a function of no arguments says."""

    function: Callable[[], float]

    def __call__(self) -> float:
        return self.function()
