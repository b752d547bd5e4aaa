"""Families of any type with any names, labels and numbers, for differential tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.samples import Exemplar, Sample, Timestamp
from prometheus_client.utils import floatToGoString

ODD = ["%", "%s", "%%r", '"', "\\", "\\n", "\n", "{}", "a,b", "}", "#", " ", "", "é°", "\U0001f600"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x85"), max_size=6)
VALUES = st.sampled_from(ODD) | TEXTS
NUMBERS = st.floats(allow_nan=True) | st.sampled_from([0.0, -0.0, 999999.0, 1e6, 1e16, 5e-324])
POSITIVE = st.floats(min_value=0, allow_nan=False)
QUANTILES = st.floats(min_value=0)
COUNTS = st.sampled_from([0.0, 1.0, 3.0, 999_999.0, 1e6, 123_456_789.0, 2.0**53])
CLASSIC = st.sampled_from(["requests", "a", "z_seconds", "up9"])
UTF_8 = st.sampled_from(["a.b", "tempé_°", "9lives", "a b", "x%y", 'quo"te', "back\\slash", "a/b"])
LABELS = ("method", "route", "zone", "a")
UTF_8_LABELS = ("http.method", "é", "x%s", "9", "la bel")
TIMES = st.none() | st.sampled_from([0, 1.5, 1520879607.789, Timestamp(12, 345000000)])
EXEMPLARS = st.none() | st.builds(
    Exemplar,
    st.dictionaries(st.sampled_from(["trace_id", "span_id"]), VALUES, max_size=2),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.sampled_from([1520879607.789, 3]),
)
BOUNDS = (0.005, 1.0, 2.5, 1e6, float("inf"))
BUCKETS = st.tuples(*[COUNTS for _ in BOUNDS])
UNITS = st.sampled_from(["", "", "seconds"])
CREATED = st.none() | st.sampled_from([1520430000.123, 1.0, 1795694508.6512632])


@st.composite
def families(draw: Any, names: Any = CLASSIC, labels: tuple[str, ...] = LABELS) -> Metric:
    """Return one family, whose samples are those that its type has.

    Strategies that do not depend on what was drawn are made once: that takes longer than to draw.
    """
    kind = draw(KINDS)
    unit = draw(UNITS) if kind not in ("info", "stateset") else ""
    family = Metric("a", draw(VALUES), kind, unit)
    # Set here, since prometheus_client 0.20 refuses names in UTF-8.
    family.name = draw(names)
    if unit and not family.name.endswith(unit):
        family.name += f"_{unit}"
    chosen = draw(st.lists(st.sampled_from(labels), unique=True, max_size=3))
    if kind == "stateset":  # whose states are in a label of the family's name
        chosen = [name for name in chosen if name != family.name]
    sets = draw(st.lists(st.tuples(*[VALUES for _ in chosen]), max_size=4, unique=True, min_size=0))
    for values in sets:
        found = dict(zip(chosen, values, strict=True))
        time = draw(TIMES)
        for name, inner, value, exemplar in MAKERS[kind](draw, family.name):
            when = None if name.endswith("_created") else time
            family.samples.append(Sample(name, {**found, **inner}, value, when, exemplar))
    return family


def _counter(draw: Any, name: str) -> Iterable[Any]:
    yield f"{name}_total", {}, draw(POSITIVE), draw(EXEMPLARS)
    yield from _created(draw, name)


def _number(draw: Any, name: str) -> Iterable[Any]:
    yield name, {}, draw(NUMBERS), None


def _histogram(draw: Any, name: str) -> Iterable[Any]:
    counts = sorted(draw(BUCKETS))
    for bound, count in zip(BOUNDS, counts, strict=True):
        yield f"{name}_bucket", {"le": floatToGoString(bound)}, count, draw(EXEMPLARS)
    yield f"{name}_count", {}, counts[-1], None
    yield f"{name}_sum", {}, draw(POSITIVE), None
    yield from _created(draw, name)


def _gauge_histogram(draw: Any, name: str) -> Iterable[Any]:
    for sample, inner, value, exemplar in _histogram(draw, name):
        ending = sample.removeprefix(name)
        if ending != "_created":
            yield (
                name + ending.replace("_count", "_gcount").replace("_sum", "_gsum"),
                (inner),
                value,
                exemplar,
            )


def _summary(draw: Any, name: str) -> Iterable[Any]:
    for quantile in ("0.5", "0.99"):
        yield name, {"quantile": quantile}, draw(QUANTILES), None
    yield f"{name}_count", {}, draw(COUNTS), None
    yield f"{name}_sum", {}, draw(POSITIVE), None
    yield from _created(draw, name)


def _info(draw: Any, name: str) -> Iterable[Any]:
    yield f"{name}_info", {"version": draw(VALUES)}, 1.0, None


def _states(draw: Any, name: str) -> Iterable[Any]:
    yield name, {name: "a"}, 1.0, None
    yield name, {name: "b"}, 0.0, None


def _created(draw: Any, name: str) -> Iterable[Any]:
    created = draw(CREATED)
    if created is not None:
        yield f"{name}_created", {}, created, None


MAKERS = {
    "counter": _counter,
    "gauge": _number,
    "unknown": _number,
    "histogram": _histogram,
    "gaugehistogram": _gauge_histogram,
    "summary": _summary,
    "info": _info,
    "stateset": _states,
}
KINDS = st.sampled_from(sorted(MAKERS))


class Families:
    """A collector of given families."""

    def __init__(self, *given: Any) -> None:
        self.given = given

    def collect(self) -> Iterable[Any]:
        """Return the families."""
        return self.given


def registry(*given: Any) -> CollectorRegistry:
    """Return a registry that collects the given families."""
    found = CollectorRegistry(auto_describe=False)
    found.register(Families(*given))  # type: ignore[arg-type]
    return found
