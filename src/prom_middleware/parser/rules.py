"""What OpenMetrics asks of samples and families, beside how they are written.

https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf, isnan

from prometheus_client.samples import Sample

from prom_middleware.parser.numbers import number

# The endings of samples' names that belong to a family, by its type.
ENDINGS: dict[str, tuple[str, ...]] = {
    "counter": ("_total", "_created"),
    "summary": ("", "_count", "_sum", "_created"),
    "histogram": ("_count", "_sum", "_bucket", "_created"),
    "gaugehistogram": ("_gcount", "_gsum", "_bucket"),
    "info": ("_info",),
}
# The label of a sample that is not one of its group's, by the type and the ending.
INNER = {
    ("histogram", "_bucket"): "le",
    ("gaugehistogram", "_bucket"): "le",
    ("summary", ""): "quantile",
}
# What may have exemplars.
TRACED = frozenset((("counter", "_total"), ("histogram", "_bucket"), ("gaugehistogram", "_bucket")))
# Characters of an exemplar's labels, names and values together.
LIMIT = 128

Check = Callable[[str, Sample], str | None]


def _bound(family: str, sample: Sample) -> str | None:
    text = sample.labels.get("le", "NaN")
    return None if _is_canonical(text) else "a bucket needs a label le, a number or +Inf"


def _quantile(family: str, sample: Sample) -> str | None:
    text = sample.labels.get("quantile", "NaN")
    is_quantile = _is_canonical(text) and 0 <= float(text) <= 1
    return None if is_quantile else "a summary needs a label quantile, from 0 to 1"


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


def sample_problem(family: str, kind: str, sample: Sample) -> str | None:
    """Return what is wrong with a sample of a family of a type."""
    place = (kind, sample.name[len(family) :])
    if sample.exemplar and place not in TRACED:
        return "only counters and buckets have exemplars"
    for check in CHECKS.get(place, ()):
        if problem := check(family, sample):
            return problem
    return None


Group = frozenset[tuple[str, str]]


def group_of(family: str, kind: str, sample: Sample) -> Group:
    """Return the labels that a sample has in common with all of its label set."""
    if kind == "info":  # they cannot be told apart
        return frozenset()
    inner = family if kind == "stateset" else INNER.get((kind, sample.name[len(family) :]))
    if inner is None:
        return frozenset(sample.labels.items())
    return frozenset(item for item in sample.labels.items() if item[0] != inner)


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
        now = (group_of(name, "histogram", sample), sample.timestamp)
        if buckets is None or now != before:
            if buckets is not None and (problem := buckets.problem()):
                return problem
            buckets, before = _Buckets(), now
        if problem := buckets.add(ending, sample):
            return problem
    return buckets.problem() if buckets else None
