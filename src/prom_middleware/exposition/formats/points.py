"""Families as one point for each label set: what formats need that know histograms as such.

Classic text has a line for each bucket, and so has `prometheus_client` a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import isfinite
from typing import Any, NamedTuple

from prometheus_client import Metric as MetricFamily
from prometheus_client.samples import Exemplar, Sample

from prom_middleware.exposition.formats.escaping import OWN_SUFFIX
from prom_middleware.exposition.formats.lines import SAMPLES, check
from prom_middleware.instrumentation.families import BlockFamily, Native, Row
from prom_middleware.instrumentation.native import LOWEST_SCHEMA

Labels = tuple[tuple[str, str], ...]
# What is filled up between two buckets costs less than a span of its own; as Go does it.
GAP = 2
# The schemas of native histograms whose bounds are powers of 2.
LEAST, GREATEST = LOWEST_SCHEMA, 8
# The label that tells a family's samples of one label set apart, by the ending of their names.
INNER = {
    ("histogram", "_bucket"): "le",
    ("gaugehistogram", "_bucket"): "le",
    ("summary", ""): "quantile",
}
# The endings of samples that are no number of their own.
PARTS = {
    "counter": ("_created",),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
    "gaugehistogram": ("_bucket", "_gcount", "_gsum"),
    "summary": ("", "_count", "_sum", "_created"),
}
INFINITY = float("inf")


def is_misplaced(family: MetricFamily, name: str, label: str) -> bool:
    """Tell whether a sample has the inner label of its family's type, and is not what that is for.

    It is part of a series then that gets another one from each reader that puts parts together.
    """
    kind, ending = family.type, name.removeprefix(family.name)
    if label not in (INNER.get((kind, part)) for part in ("", "_bucket")):
        return False
    return ending in ("", *PARTS[kind]) and (kind, ending) not in INNER


class Spans(NamedTuple):
    """Buckets on one side of zero: offsets and lengths of spans, and the counts in them."""

    spans: Sequence[tuple[int, int]] = ()
    counts: Sequence[float] = ()


class NativePoint(NamedTuple):
    """A native histogram; `extra` observations are in no bucket, for they were NaN."""

    schema: int
    zero_threshold: float
    zero_count: float
    positive: Spans
    negative: Spans = Spans()
    extra: float = 0
    exemplars: Sequence[Exemplar] = ()

    @property
    def counts(self) -> list[float]:
        """Return what makes up the number of observations."""
        return [self.zero_count, *self.positive.counts, *self.negative.counts, self.extra]

    @property
    def observations(self) -> float:
        """Return the number of observations, which has to be that of all buckets."""
        buckets = sum(self.positive.counts) + sum(self.negative.counts)
        return self.zero_count + buckets + self.extra


class Bucket(NamedTuple):
    """A classic bucket, or a quantile and its value."""

    bound: float
    value: float
    exemplar: Exemplar | None = None


@dataclass(slots=True)
class Point:
    """What one label set has at one time; `created` is 0 where it is not known."""

    labels: Labels
    timestamp: Any = None
    value: float = 0.0
    count: float | None = None
    sum: float | None = None
    buckets: list[Bucket] = field(default_factory=list)
    exemplar: Exemplar | None = None
    created: float = 0.0
    native: NativePoint | None = None

    @property
    def exemplars(self) -> list[Exemplar]:
        """Return those of all buckets."""
        found = [bucket.exemplar for bucket in self.buckets if bucket.exemplar]
        return found or (list(self.native.exemplars) if self.native else [])


class Group(NamedTuple):
    """The points of one name and type."""

    name: str
    type: str
    points: Iterable[Point]


def groups_of(family: MetricFamily) -> Iterator[Group | None]:
    """Yield a family in groups; None is a step on the way to the next one.

    The first group is the family itself, by its whole name. Samples that are none of what its type
    has, which only samples can be, follow as families of unknown type.
    """
    check(family)
    own = family.name + OWN_SUFFIX.get(family.type, "")
    if isinstance(family, BlockFamily):
        yield Group(own, family.type, map(row_point(family), family.rows()))
        return
    grouping = _Grouping(family)
    for number, sample in enumerate(family.samples):
        grouping.add(sample)
        if number % SAMPLES == SAMPLES - 1:
            yield None
    yield Group(own, family.type, grouping.points())
    for name, points in grouping.others.items():
        yield Group(name, "unknown", points)


class _Grouping:
    def __init__(self, family: MetricFamily) -> None:
        self.others: dict[str, list[Point]] = {}
        self._family = family
        self._own = {family.name + OWN_SUFFIX.get(family.type, ""), family.name}
        self._parts = PARTS.get(family.type, ())
        self._points: dict[tuple[Labels, str], Point] = {}
        self._created: dict[Labels, float] = {}

    def points(self) -> Iterator[Point]:
        # Prometheus 3 refuses a scrape in which a classic one comes after a native one.
        for point in sorted(self._points.values(), key=lambda point: point.native is not None):
            point.created = self._created.get(point.labels, 0.0)
            point.buckets.sort(key=lambda bucket: bucket.bound)
            if point.native:
                fit(point, point.native)
            yield point

    def add(self, sample: Any) -> None:
        labels = dict(sample.labels or ())
        native = getattr(sample, "native_histogram", None)  # prometheus_client 0.20 has none
        ending = sample.name.removeprefix(self._family.name)
        known = sample.name.startswith(self._family.name) and ending in self._parts
        if native is not None:
            point = self._point(labels, sample)
            point.native, point.sum = native_point(native), float(native.sum_value)
        elif known and ending == "_created":
            if isfinite(created := float(sample.value)):
                self._created[_sorted(labels)] = created
        elif known:
            self._add_part(ending, labels, sample)
        elif sample.name in self._own and "" not in self._parts:
            point = self._point(labels, sample)
            point.value, point.exemplar = float(sample.value), sample.exemplar
        else:
            point = Point(_sorted(labels), sample.timestamp, float(sample.value))
            self.others.setdefault(sample.name, []).append(point)

    def _add_part(self, ending: str, labels: dict[str, str], sample: Any) -> None:
        inner = INNER.get((self._family.type, ending))
        value = float(sample.value)
        if inner is not None:
            bound = float(labels.pop(inner))
            bucket = Bucket(bound, value, sample.exemplar)
            self._point(labels, sample).buckets.append(bucket)
        elif ending.endswith("count"):
            self._point(labels, sample).count = value
        else:
            self._point(labels, sample).sum = value

    def _point(self, labels: Mapping[str, str], sample: Any) -> Point:
        key = (_sorted(labels), str(sample.timestamp))
        found = self._points.get(key)
        if found is None:
            found = self._points[key] = Point(key[0], sample.timestamp)
        return found


def _sorted(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def row_point(family: BlockFamily) -> Callable[[Row], Point]:
    """Return what makes points of rows."""
    kind, names, bounds = family.type, family.label_names, (*family.bounds, INFINITY)

    def point_of(row: Row) -> Point:
        labels = _sorted(dict(zip(names, row.labels, strict=True)))
        point = Point(labels, created=row.created)
        exemplars, values = row.exemplars or {}, row.values
        if kind == "histogram":
            counts = enumerate(zip(bounds, values, strict=False))
            point.buckets = [Bucket(*pair, exemplars.get(place)) for place, pair in counts]
        if kind in ("histogram", "summary"):
            point.count, point.sum = values[-2:]
        else:
            point.value, point.exemplar = values[0], exemplars.get(0)
        if row.native:
            fit(point, own_native(row.native))
        return point

    return point_of


def own_native(native: Native) -> NativePoint:
    """Return the native histogram of a row."""
    spans = spans_of(native.buckets)
    return NativePoint(native.schema, native.zero_threshold, native.zero_count, spans)


def fit(point: Point, native: NativePoint) -> None:
    """Put a native histogram into a point, and let the classic buckets have no more than it has.

    What several processes count may be torn by one; Prometheus refuses numbers that do not agree.
    """
    count = point.count = native.observations
    point.native = native
    point.buckets = [
        bucket._replace(value=count if bucket.bound == INFINITY else min(bucket.value, count))
        for bucket in point.buckets
    ]


def spans_of(buckets: Mapping[int, float]) -> Spans:
    """Return the buckets, by their index, in spans."""
    spans: list[tuple[int, int]] = []
    counts: list[float] = []
    end: int | None = None  # the index after the last one
    for index in sorted(buckets):
        gap = index - (end or 0)
        if end is None or gap > GAP:
            spans.append((gap, 1))
        else:
            counts += [0] * gap
            spans[-1] = (spans[-1][0], spans[-1][1] + gap + 1)
        counts.append(buckets[index])
        end = index + 1
    return Spans(spans, counts)


def is_native(sample: Sample) -> bool:
    """Tell whether a sample is a native histogram; prometheus_client 0.20 has none."""
    return getattr(sample, "native_histogram", None) is not None


def without_exemplars(sample: Sample) -> Sample:
    """Return a native histogram without its own, which prometheus_client has since 0.23."""
    native: Any = sample.native_histogram
    if not getattr(native, "nh_exemplars", None):
        return sample
    return sample._replace(native_histogram=native._replace(nh_exemplars=None))


def native_point(native: Any) -> NativePoint:
    """Return a `NativeHistogram` of `prometheus_client`."""
    positive = _spans(native.pos_spans, native.pos_deltas)
    negative = _spans(native.neg_spans, native.neg_deltas)
    found = NativePoint(
        native.schema,
        native.zero_threshold,
        native.zero_count,
        positive,
        negative,
        exemplars=getattr(native, "nh_exemplars", None) or (),  # since prometheus_client 0.23
    )
    # Only a sum that is no number allows for observations that were none.
    missing = native.count_value - found.observations
    is_nan = native.sum_value != native.sum_value
    found = found._replace(extra=max(missing, 0) if is_nan else 0)
    _check(found)
    return found


def _check(native: NativePoint) -> None:
    """Raise ValueError for what Prometheus would not take: it refuses the whole exposition then."""
    if not LEAST <= native.schema <= GREATEST:
        raise ValueError(f"there is no schema {native.schema!r}")
    for spans, counts in (native.positive, native.negative):
        if sum(length for _, length in spans) != len(counts):
            raise ValueError(f"{spans} are not the spans of {len(counts)} buckets")
        if any(offset < 0 for offset, _ in spans[1:]):
            raise ValueError(f"{spans} overlap")
    if not all(count >= 0 for count in native.counts):
        raise ValueError(f"there are counts that are none: {native.counts}")


def _spans(spans: Any, deltas: Any) -> Spans:
    return Spans([(span[0], span[1]) for span in spans or ()], list(accumulate(deltas or ())))
