"""OpenTelemetry's exponential histograms as Prometheus' native ones.

https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#exponential-histograms
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from prometheus_client import samples

from prom_middleware.exposition.formats.points import GREATEST, LEAST


def native_sample(name: str, labels: Mapping[str, str], point: Any) -> samples.Sample | None:
    """Return a data point as a sample; None where it is too coarse or prometheus_client too old."""
    if not hasattr(samples, "NativeHistogram") or point.scale < LEAST:
        return None
    schema = min(point.scale, GREATEST)
    positive_spans, positive = _buckets(point.positive, point.scale - schema)
    negative_spans, negative = _buckets(point.negative, point.scale - schema)
    native = samples.NativeHistogram(
        count_value=point.count,
        sum_value=point.sum,
        schema=schema,
        zero_threshold=getattr(point, "zero_threshold", 0.0),
        zero_count=point.zero_count,
        pos_spans=positive_spans,
        neg_spans=negative_spans,
        pos_deltas=positive,
        neg_deltas=negative,
    )
    return samples.Sample(name, dict(labels), 0.0, native_histogram=native)


def _buckets(buckets: Any, finer: int) -> tuple[list[samples.BucketSpan], list[int]]:
    """Return one span of buckets, and what each has more than the one before.

    Each step in scale makes two buckets of one. A bucket's index is the one of its upper bound for
    Prometheus, of its lower bound for OpenTelemetry.
    """
    counts: Counter[int] = Counter()
    for place, count in enumerate(buckets.bucket_counts, buckets.offset):
        if count:
            counts[(place >> finer) + 1] += count
    if not counts:
        return [], []
    first, last = min(counts), max(counts)
    dense = [counts[index] for index in range(first, last + 1)]
    deltas = [count - before for before, count in zip([0, *dense], dense, strict=False)]
    return [samples.BucketSpan(first, len(dense))], deltas
