"""What OpenMetrics asks of samples and families, beside how they are written.

https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from math import inf, isnan
from typing import Any, NamedTuple

from prometheus_client.metrics_core import METRIC_TYPES
from prometheus_client.samples import Sample

from prom_middleware import naming
from prom_middleware.exposition.formats.openmetrics import EXEMPLARS
from prom_middleware.exposition.formats.points import INNER
from prom_middleware.parser.numbers import number

# The endings of samples' names that belong to a family, by its type.
ENDINGS = {**naming.SUFFIXES, "summary": ("", *naming.SUFFIXES["summary"])}
# What may have exemplars.
TRACED = frozenset(EXEMPLARS.items())

Check = Callable[[str, Sample], str | None]


def _bound(family: str, sample: Sample) -> str | None:
    text = sample.labels.get("le", "NaN")
    return None if _is_canonical(text) else "a bucket needs a label le, a number or +Inf"


def _quantile(family: str, sample: Sample) -> str | None:
    text = sample.labels.get("quantile", "NaN")
    is_quantile = _is_canonical(text) and 0 <= float(text) <= 1
    return None if is_quantile else "a summary needs a label quantile, from 0 to 1"


@lru_cache(1024)
def _is_canonical(text: str) -> bool:
    try:
        value = number(text)
    except ValueError:
        return False
    return not isnan(value) and (value != inf or text == "+Inf")


def _whole(family: str, sample: Sample) -> str | None:
    is_whole = isinstance(sample.value, int) or sample.value.is_integer()
    return None if is_whole else "a count has to be an integer"


def _counting(family: str, sample: Sample) -> str | None:
    return None if sample.value >= 0 else "what counts is neither negative nor NaN"


def _not_nan(family: str, sample: Sample) -> str | None:
    return "a sum is not NaN" if isnan(sample.value) else None


def _positive(family: str, sample: Sample) -> str | None:
    return "the value of a quantile is not negative" if sample.value < 0 else None


def _state(family: str, sample: Sample) -> str | None:
    if family not in sample.labels:
        return f"a state set needs a label {family}"
    return None if sample.value in (0, 1) else "a state is 0 or 1"


def _info(family: str, sample: Sample) -> str | None:
    return None if sample.value == 1 else "the value of an info is 1"


# By the type of the family and the ending of the sample's name.
CHECKS: dict[tuple[str, str], tuple[Check, ...]] = {
    ("counter", "_total"): (_counting,),
    ("summary", ""): (_quantile, _positive),
    ("summary", "_count"): (_whole, _counting),
    ("summary", "_sum"): (_counting,),
    ("histogram", "_bucket"): (_bound, _whole, _counting),
    ("histogram", "_count"): (_whole, _counting),
    ("histogram", "_sum"): (_counting,),
    ("gaugehistogram", "_bucket"): (_bound, _whole, _counting),
    ("gaugehistogram", "_gcount"): (_whole, _counting),
    ("gaugehistogram", "_gsum"): (_not_nan,),
    ("stateset", ""): (_state,),
    ("info", "_info"): (_info,),
}


class Place(NamedTuple):
    """What a sample is in its family: what it has to keep, and whether it may have exemplars.

    `inner` is the label that is not one of its group's; the samples of an info are all one group.
    """

    checks: tuple[Check, ...] = ()
    is_traced: bool = False
    inner: str | None = None
    is_one_group: bool = False

    def check(self, family: str, sample: Sample) -> None:
        """Raise ValueError for what is wrong with a sample of a family."""
        if sample.exemplar and not self.is_traced:
            raise ValueError("only counters and buckets have exemplars")
        for check in self.checks:
            if problem := check(family, sample):
                raise ValueError(problem)


def _place(kind: str, ending: str) -> Place:
    at = (kind, ending)
    return Place(CHECKS.get(at, ()), at in TRACED, INNER.get(at), kind == "info")


PLACES = {
    kind: [(ending, _place(kind, ending)) for ending in ENDINGS.get(kind, ("",))]
    for kind in METRIC_TYPES
}

# Those of types whose samples all have the family's name.
ALONE = {kind: PLACES[kind][0][1] for kind in ("gauge", "unknown")}


def places_of(family: str, kind: str) -> dict[str, Place]:
    """Return the names of the samples that belong to a family, and what each of them is."""
    if kind in ALONE:
        return {family: ALONE[kind]}
    if kind == "stateset":
        return {family: Place(CHECKS[kind, ""], inner=family)}
    return {family + ending: place for ending, place in PLACES[kind]}


def without(labels: dict[str, str], inner: str | None) -> dict[str, str]:
    """Return labels without one of them."""
    if inner not in labels:
        return labels
    others = labels.copy()
    del others[inner]
    return others


class Grouping:
    """The samples of one label set stand together, and their times do not go back."""

    def __init__(self) -> None:
        # By their hashes: sets of all labels would be as many as the labels themselves.
        self._seen: dict[int, dict[str, str]] = {}
        self._series: set[Any] = set()  # of the group that is being read
        self._time: Any = None
        self._first: Any = None
        self.begin()

    def begin(self) -> None:
        """Begin with another family."""
        self._labels: dict[str, str] | None = None
        if self._seen:
            self._seen.clear()

    def takes(self, place: Place, sample: Sample) -> bool:
        """Take down a sample; return False for one that is there at this time already.

        Its times may have been cut off. Raises ValueError for what is wrong with where it stands.
        """
        name, group, time = sample[0], sample[1], sample[3]
        part: Any = None
        if place.is_one_group:
            group, part = {}, frozenset(group.items())
        elif place.inner in group and len(group) == 1:  # as most state sets have it
            group, part = {}, group[place.inner]
        elif place.inner in group:
            group = group.copy()
            part = group.pop(place.inner)
        if group != self._labels:
            self._begin_group(group, (name, part), time)
            return True
        before, self._time = self._time, time
        if (time is None) != (before is None):
            raise ValueError("some samples of a label set have a time, and some have none")
        if before is not None and not place.is_one_group and _is_later(before, time):
            raise ValueError("the times of a label set go back")
        return self._is_new((name, part)) or time != before

    def _begin_group(self, group: dict[str, str], series: Any, time: Any) -> None:
        if self._labels is not None:  # a family of one group needs none of this
            if not self._seen:
                self._keep(self._labels)
            self._keep(group)
        self._labels, self._time, self._first = group, time, series
        if self._series:
            self._series.clear()

    def _keep(self, group: dict[str, str]) -> None:
        key = hash(frozenset(group.items()))
        while key in self._seen:
            if self._seen[key] == group:
                raise ValueError("the samples of a label set do not stand together")
            key += 1
        self._seen[key] = group

    def _is_new(self, series: Any) -> bool:
        """Tell whether the group did not have a series; most groups have one only."""
        is_new = series != self._first and series not in self._series
        self._series.add(series)
        return is_new


class Repeats:
    """Which series were there at the time of the sample before: of a page that is not strict."""

    def __init__(self) -> None:
        self._time: Any = None
        self._series: set[Any] = set()

    def begin(self) -> None:
        """Begin with another family."""
        self._time = None
        self._series.clear()

    def takes(self, place: Place, sample: Sample) -> bool:
        """Take down a sample; return False for one that is there already."""
        series = (sample.name, frozenset(sample.labels.items()))
        is_new = series not in self._series or sample.timestamp != self._time
        self._series.add(series)
        self._time = sample.timestamp
        return is_new


def _is_later(before: Any, now: Any) -> bool:
    if type(before) is type(now):
        return bool(before > now)
    return float(before) > float(now)


def family_problem(name: str, kind: str, unit: str, samples: Iterable[Sample]) -> str | None:
    """Return what is wrong with a family as a whole."""
    if unit and not name.endswith(f"_{unit}"):
        return f"the name has to end with the unit, _{unit}"
    if unit and kind in ("info", "stateset"):
        return f"a family of type {kind} has no unit"
    return _histogram_problem(name, samples) if kind.endswith("histogram") else None


class _Buckets:
    """What the samples of one histogram have been so far."""

    def __init__(self) -> None:
        self.bound: float | None = None
        self.value: float = 0
        self.is_negative = False
        self.ends: dict[str, float] = {}

    def add(self, ending: str, sample: Sample) -> str | None:
        if ending != "_bucket":
            self.ends[ending] = sample.value
            return None
        bound = float(sample.labels["le"])
        if self.bound is not None and bound <= self.bound:
            return "the buckets are not in the order of their bounds"
        if sample.value < self.value:
            return "a bucket counts less than the one before"
        self.is_negative |= bound < 0
        self.bound, self.value = bound, sample.value
        return None

    def problem(self) -> str | None:
        """Return what is wrong with them together."""
        count = self.ends.get("_count", self.ends.get("_gcount"))
        has_sum = "_sum" in self.ends or "_gsum" in self.ends
        if self.bound != inf:
            return "there is no bucket +Inf"
        if count is not None and count != self.value:
            return "the count differs from the bucket +Inf"
        if has_sum != (count is not None):
            return "there is a sum without a count, or a count without a sum"
        if self.is_negative and "_sum" in self.ends:
            return "there is a sum, and a bucket for what is negative"
        if not self.is_negative and self.ends.get("_gsum", 0) < 0:
            return "the sum is negative, but no bucket is"
        return None


def _histogram_problem(name: str, samples: Iterable[Sample]) -> str | None:
    buckets, before = None, None
    for sample in samples:
        ending = sample.name[len(name) :]
        if not ending:  # a native histogram
            continue
        now = (without(sample.labels, INNER.get(("histogram", ending))), sample.timestamp)
        if buckets is None or now != before:
            if buckets is not None and (problem := buckets.problem()):
                return problem
            buckets, before = _Buckets(), now
        if problem := buckets.add(ending, sample):
            return problem
    return buckets.problem() if buckets else None
