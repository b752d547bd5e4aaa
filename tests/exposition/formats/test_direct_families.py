"""What is read of prometheus_client's metrics directly is what they collect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Metric,
    Summary,
    disable_created_metrics,
    enable_created_metrics,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.samples import Sample
from prometheus_client.values import MutexValue

from exposition.formats.comparing import (
    OPENMETRICS,
    PROTOBUF,
    from_openmetrics,
    from_text,
    render,
)
from exposition.formats.metrics_proto import decode, samples
from exposition.formats.random_families import VALUES
from prom_middleware.exposition.collecting import direct
from prom_middleware.exposition.collecting.direct import direct_family

KINDS: tuple[Any, ...] = (Counter, Gauge, Histogram, Summary)
AMOUNTS = st.floats(0, 1e300) | st.sampled_from([0.0, 1.0, 2.0, 1e6, 1e9])


@pytest.fixture(autouse=True)
def _agreement() -> Iterator[None]:
    direct._agrees.cache_clear()
    yield
    direct._agrees.cache_clear()


def metric(kind: Any, labels: tuple[str, ...] = (), **options: Any) -> Any:
    return kind("a_seconds", 'Help "\\\n.', labels, registry=None, unit="seconds", **options)


def put(child: Any, amount: float) -> None:
    traced = {"exemplar": {"trace_id": "t"}} if type(child) in (Counter, Histogram) else {}
    recording = child.observe if hasattr(child, "observe") else child.inc
    recording(amount, **traced)


@given(
    st.sampled_from(KINDS),
    st.sampled_from([(), ("b",), ("b", "a"), ("x", "http_method", "a")]),
    st.lists(st.tuples(VALUES, VALUES, AMOUNTS), max_size=6),
)
def test_any_metric(kind: Any, labels: tuple[str, ...], puts: list[tuple[str, str, float]]) -> None:
    one = metric(kind, labels)
    for first, second, amount in puts:
        values = (first, second, first)[: len(labels)]
        put(one.labels(*values) if labels else one, amount)
    family = direct_family(one)
    (collected,) = one.collect()
    assert family is not None
    assert family == collected
    assert from_text(render("", [family])) == from_text(render("", [collected]))
    body = render(OPENMETRICS, [family])
    assert from_openmetrics(body) == from_openmetrics(render(OPENMETRICS, [collected]))
    for mine, other in zip(
        decode(render(PROTOBUF, [family])), decode(render(PROTOBUF, [collected])), strict=True
    ):
        assert samples(mine) == samples(other)
        assert str(mine) == str(other)


def test_without_created() -> None:
    disable_created_metrics()
    try:
        assert b"_created" not in render("", [direct_family(metric(Counter))])  # type: ignore[list-item]
    finally:
        enable_created_metrics()
    assert b"_created" in render("", [direct_family(metric(Counter))])  # type: ignore[list-item]


class Own(Counter):
    """A class of somebody's own."""


def _with_function() -> Gauge:
    one = metric(Gauge, ("a",))
    one.labels("b").set_function(lambda: 7.0)
    return one  # type: ignore[no-any-return]


def _with_own_collect() -> Counter:
    one = metric(Counter)
    one.collect = list
    return one  # type: ignore[no-any-return]


OTHERS = {
    "a class of one's own": lambda: metric(Own),
    "a method of its own": _with_own_collect,
    "bounds below zero, which have no sum": lambda: metric(Histogram, buckets=(-1.0, 1.0)),
    "info": lambda: Info("a", "", registry=None),
    "states": lambda: Enum("a", "", states=["b"], registry=None),
    "a registry": CollectorRegistry,
    "nothing": lambda: None,
}


@pytest.mark.parametrize("other", OTHERS)
def test_others_are_left_to_collect(other: str) -> None:
    assert direct_family(OTHERS[other]()) is None


class OddValue(MutexValue):
    """A value that lives elsewhere."""


def test_values_that_live_elsewhere_are_left_to_collect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prometheus_client.values.ValueClass", OddValue)
    for kind in KINDS:
        assert direct_family(metric(kind)) is None


def test_no_probe_is_made_where_values_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Kept(MutexValue):
        """A value that outlives its metric, as one in a file does."""

        def __init__(self, typ: str, metric_name: str, *rest: Any, **options: Any) -> None:
            made.append(metric_name)
            super().__init__(typ, metric_name, *rest, **options)

    before, childless = [metric(kind) for kind in KINDS], metric(Counter, ("a",))
    monkeypatch.setattr("prometheus_client.values.ValueClass", Kept)
    for each in (*before, childless, *map(metric, KINDS)):
        assert direct_family(each) is None
    assert set(made) == {"a_seconds"}


def _renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(self: MutexValue) -> float:
        return 0.0

    monkeypatch.setattr(MutexValue, "get", get)


def _collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MetricWrapperBase, "collect", lambda self: [])


def _more_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    def samples_of(self: Any) -> list[Sample]:
        return [Sample("_other", {}, 1.0)]

    for kind in KINDS:
        monkeypatch.setattr(kind, "_child_samples", samples_of)


def _another_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    def children(metric: Any) -> list[Any]:
        raise AttributeError("_metrics")

    monkeypatch.setattr(direct, "_children", children)


def _another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(children: Any) -> list[Any]:
        return []

    monkeypatch.setattr(direct, "ROWS", dict.fromkeys(KINDS, rows))


@pytest.mark.parametrize(
    "change", [_renamed, _collected, _more_samples, _another_layout, _another_order]
)
def test_what_was_changed_is_left_to_collect(change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in KINDS:
        assert direct_family(metric(kind)) is not None
    change(monkeypatch)
    direct._agrees.cache_clear()
    for kind in KINDS:
        assert direct_family(metric(kind)) is None


def test_functions_are_called() -> None:
    family = direct_family(_with_function())
    assert b'a_seconds{a="b"} 7.0\n' in render("", [family])  # type: ignore[list-item]


def test_rows_are_read_when_they_are_asked_for() -> None:
    one = metric(Counter)
    family = direct_family(one)
    assert isinstance(family, Metric)
    one.inc(7)
    assert b"a_seconds_total 7.0\n" in render("", [family])
