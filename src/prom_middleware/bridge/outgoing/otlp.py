"""OTLP over HTTP, with OpenTelemetry's own exporter: the extra `otlp`.

Families become what https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
says, under the names that Prometheus shows. The SDK has no summaries: they are sent as the sums
and gauges that they consist of. Where a histogram is also native, that is what is sent: points of
two kinds under one name would be two metrics.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from prometheus_client import Metric as MetricFamily
from prometheus_client.samples import Sample

from prom_middleware._version import __version__
from prom_middleware.bridge.outgoing.buffer import Batch
from prom_middleware.bridge.outgoing.collecting import parts
from prom_middleware.bridge.outgoing.exponential import (
    Side,
    exponential,
    labels_of,
    native_points,
)
from prom_middleware.errors import MissingFrameworkError
from prom_middleware.exposition.formats.escaping import encoded
from prom_middleware.exposition.formats.points import Labels, NativePoint, Point, is_native
from prom_middleware.logins import place_of

try:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Buckets,
        ExponentialHistogram,
        ExponentialHistogramDataPoint,
        Gauge,
        Histogram,
        HistogramDataPoint,
        Metric,
        MetricExportResult,
        MetricsData,
        NumberDataPoint,
        ResourceMetrics,
        ScopeMetrics,
        Sum,
    )
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
except ImportError as error:
    raise MissingFrameworkError(
        f"a bridge to OTLP needs pip install 'prom_middleware[otlp]' ({error})"
    ) from error

CUMULATIVE = AggregationTemporality.CUMULATIVE
# The samples that only rise, by their endings.
MONOTONIC = {"counter": ("_total", ""), "summary": ("_count", "_sum")}
Created = dict[Labels, int]  # nanoseconds
Data = Iterator[tuple[str, Any]]  # with its name


class Otlp:
    """A server that takes OTLP at `url`.

    Headers, certificates and compression are the exporter's, by its environment variables
    `OTEL_EXPORTER_OTLP_...`; what describes the sender is in `OTEL_RESOURCE_ATTRIBUTES` and
    `OTEL_SERVICE_NAME`.
    """

    collisions = 0  # every name can be sent as it is

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.name = f"otlp+{parts.scheme}://{place_of(parts)}"
        self._url = url
        self._exporter: OTLPMetricExporter | None = None
        self._timeout = 0.0
        self._pid = os.getpid()
        self._resource = Resource.create()
        self._scope = InstrumentationScope("prom_middleware.bridge", __version__)

    def batch(self, families: Iterable[MetricFamily], now: float) -> Batch:
        """Return the families as the SDK has them."""
        times = Times(int(now * 1e9))
        metrics = list(parts(families, lambda family: metrics_of(family, times)))
        scope = ScopeMetrics(self._scope, metrics, "")
        data = MetricsData([ResourceMetrics(self._resource, [scope], "")])
        return Batch(data, sum(len(metric.data.data_points) for metric in metrics))

    def send(self, batch: Batch, timeout: float) -> None:
        """Send with the exporter's own retries; raise OSError when it gives up."""
        if self._pid != os.getpid():  # in a forked process: the connection is the parent's
            self._exporter, self._pid = None, os.getpid()
        if self._exporter is None or timeout < self._timeout:
            self.close()
            self._exporter = OTLPMetricExporter(endpoint=self._url, timeout=timeout)
            self._timeout = timeout
        if self._exporter.export(batch.content) is not MetricExportResult.SUCCESS:
            raise OSError("the exporter could not send; its own log tells why")

    def close(self) -> None:
        """End the exporter; what it is sending is given up."""
        exporter, self._exporter = self._exporter, None
        if exporter is not None:
            exporter.shutdown()


class Times:
    """When the points of one collection were taken, in nanoseconds."""

    def __init__(self, now: int) -> None:
        self._now = now

    def of(self, sample: Sample | Point) -> int:
        """Return the sample's own time, or now."""
        return self._now if sample.timestamp is None else _nanoseconds(sample.timestamp)


def metrics_of(family: MetricFamily, times: Times) -> Iterator[Metric]:
    """Yield what a family is in OpenTelemetry: one metric, or one for each name in it.

    The SDK has no place for the width of a native histogram's zero bucket.
    """
    text = _text(family.documentation or "")
    natives = {
        point.labels: _exponential(point, native, times) for point, native in native_points(family)
    }
    if natives:
        data = ExponentialHistogram(list(natives.values()), CUMULATIVE)
        yield Metric(family.name, text, family.unit, data)
    points = _histograms if family.type == "histogram" else _numbers
    for name, data in points(family, *_classic(family, natives), times):
        yield Metric(name, text, family.unit, data)


def _classic(family: MetricFamily, natives: Collection[Labels]) -> tuple[list[Sample], Created]:
    """Return the samples that are not sent as native histograms, and when theirs were made."""
    created: Created = {}
    samples: list[Sample] = []
    for sample in family.samples:
        if sample.name == f"{family.name}_created":
            created[labels_of(sample)] = _nanoseconds(sample.value)
        elif not is_native(sample) and not (natives and labels_of(sample, "le") in natives):
            samples.append(sample)
    return samples, created


def _exponential(point: Point, native: NativePoint, times: Times) -> ExponentialHistogramDataPoint:
    found = exponential(native)
    nothing: Any = None  # the least and the greatest are not known
    return ExponentialHistogramDataPoint(
        attributes=_attributes(point.labels),
        start_time_unix_nano=_nanoseconds(point.created),
        time_unix_nano=times.of(point),
        count=found.observations,
        sum=math.nan if point.sum is None else point.sum,
        scale=found.scale,
        zero_count=found.zero_count,
        positive=_buckets(found.positive),
        negative=_buckets(found.negative),
        flags=0,
        min=nothing,
        max=nothing,
    )


def _buckets(side: Side) -> Buckets:
    return Buckets(side.offset, side.counts)


def _nanoseconds(seconds: Any) -> int:
    """Return a time as OTLP has it; raise ValueError for one that would cost the whole batch."""
    found = int(float(seconds) * 1e9)
    if not 0 <= found < 2**64:
        raise ValueError(f"OTLP has no time for {seconds!r}")
    return found


def _numbers(
    family: MetricFamily, samples: Sequence[Sample], created: Created, times: Times
) -> Data:
    by_name: dict[str, list[NumberDataPoint]] = {}
    for sample in samples:
        start = created.get(labels_of(sample, "quantile"), 0)
        attributes = _attributes((sample.labels or {}).items())
        point = NumberDataPoint(attributes, start, times.of(sample), float(sample.value))
        by_name.setdefault(sample.name, []).append(point)
    for name, points in by_name.items():
        suffix = name.removeprefix(family.name)
        monotonic = suffix in MONOTONIC.get(family.type, ())
        yield name, Sum(points, CUMULATIVE, True) if monotonic else Gauge(points)


class _Buckets(NamedTuple):
    """One histogram as Prometheus has it: counts up to each bound."""

    counts: dict[float, float]
    numbers: dict[str, float]
    first: list[Sample]


def _histograms(
    family: MetricFamily, samples: Sequence[Sample], created: Created, times: Times
) -> Data:
    sets: dict[Labels, _Buckets] = {}
    for sample in samples:
        buckets = sets.setdefault(labels_of(sample, "le"), _Buckets({}, {}, []))
        buckets.first.append(sample)
        if sample.labels and "le" in sample.labels:
            buckets.counts[float(sample.labels["le"])] = sample.value
        else:
            buckets.numbers[sample.name.removeprefix(family.name)] = sample.value
    points = [_histogram(labels, one, created, times) for labels, one in sets.items()]
    if points:
        yield family.name, Histogram(points, CUMULATIVE)


def _histogram(
    labels: Labels, buckets: _Buckets, created: Created, times: Times
) -> HistogramDataPoint:
    bounds = sorted(bound for bound in buckets.counts if bound < math.inf)
    count = buckets.numbers.get("_count", buckets.counts.get(math.inf, 0.0))
    rising = [0.0, *(buckets.counts[bound] for bound in bounds), count]
    nothing: Any = None  # the least and the greatest are not known
    return HistogramDataPoint(
        attributes=_attributes(labels),
        start_time_unix_nano=created.get(labels, 0),
        time_unix_nano=times.of(buckets.first[0]),
        count=int(count),
        sum=buckets.numbers.get("_sum", math.nan),
        bucket_counts=[max(0, int(high - low)) for low, high in pairwise(rising)],
        explicit_bounds=bounds,
        min=nothing,
        max=nothing,
    )


def _attributes(labels: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: _text(value) for name, value in labels}


def _text(text: str) -> str:
    """Return a text that the exporter can encode: it gives up a label, or all, for any other."""
    return text if text.isascii() else encoded(text).decode()
