"""Rows are shown as the samples that can be made of them."""

from __future__ import annotations

import inspect
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exposition.formats.comparing import (
    OPENMETRICS,
    PROTOBUF,
    from_openmetrics,
    from_text,
    render,
)
from exposition.formats.metrics_proto import decode, samples
from exposition.formats.random_families import (
    COUNTS,
    EXEMPLARS,
    LABELS,
    NUMBERS,
    UTF_8_LABELS,
    VALUES,
    registry,
)
from prom_middleware.exposition.negotiation import negotiate
from prom_middleware.instrumentation.families import BlockFamily, Row

BOUNDS = (-1.0, 0.005, 2.5, 1e6)
KINDS = ("counter", "gauge", "histogram", "summary")
SUMS = st.floats(allow_nan=True) | NUMBERS
knows_utf_8 = pytest.mark.skipif(
    "escaping" not in inspect.signature(generate_latest).parameters,
    reason="this prometheus_client has no escaping schemes",
)


@st.composite
def blocks(draw: Any, labels: tuple[str, ...] = LABELS) -> BlockFamily:
    """Return a family of rows."""
    kind = draw(st.sampled_from(KINDS))
    names = tuple(draw(st.lists(st.sampled_from(labels), unique=True, max_size=3)))
    sets = draw(st.lists(st.tuples(*[VALUES for _ in names]), unique=True, max_size=3))
    rows = [draw(row(kind, values)) for values in sets]
    unit = draw(st.sampled_from(["", "seconds"]))
    bounds = BOUNDS if kind == "histogram" else ()
    family = BlockFamily(Metric("a", draw(VALUES), kind, unit), names, bounds, lambda: rows)
    family.shows_created = kind != "gauge" and draw(st.booleans())
    return family


@st.composite
def row(draw: Any, kind: str, labels: tuple[str, ...]) -> Row:
    """Return a row as families of a kind have them."""
    created = draw(st.sampled_from([0.0, 1520430000.123]))
    if kind == "gauge":
        return Row(labels, (draw(NUMBERS),))
    if kind == "counter":
        exemplar = draw(EXEMPLARS)
        values: tuple[float, ...] = (draw(st.floats(0)),)
        return Row(labels, values, created, {0: exemplar} if exemplar else None)
    if kind == "summary":
        return Row(labels, (draw(COUNTS), draw(SUMS)), created)
    size = len(BOUNDS) + 1
    counts = sorted(draw(st.lists(COUNTS, min_size=size, max_size=size)))
    traced = {place: draw(EXEMPLARS) for place in range(size)}
    traced = {place: exemplar for place, exemplar in traced.items() if exemplar}
    return Row(labels, (*counts, counts[-1], draw(SUMS)), created, traced or None)


def copied(family: BlockFamily) -> Metric:
    """Return a family that has the samples, and no rows."""
    found = Metric(family.name, family.documentation, family.type, family.unit)
    found.samples = list(family.samples)
    return found


@given(blocks())
def test_text(family: BlockFamily) -> None:
    assert from_text(render("", [family])) == from_text(generate_latest(registry(copied(family))))


@given(blocks())
def test_openmetrics(family: BlockFamily) -> None:
    # Its parser cannot read what it writes of some labels and sums: as sets of lines, then.
    ours, theirs = render(OPENMETRICS, [family]), render(OPENMETRICS, [copied(family)])
    assert theirs == generate_openmetrics(registry(copied(family)))
    assert list(map(_sorted_labels, _lines(ours))) == list(map(_sorted_labels, _lines(theirs)))


def _lines(body: bytes) -> list[str]:
    return body.decode().split("\n")


def _sorted_labels(line: str) -> list[str]:
    # `le` is the first one in ours, and at its place in theirs.
    return sorted(line)


@knows_utf_8
@given(blocks(labels=UTF_8_LABELS))
def test_text_with_any_names_of_labels(family: BlockFamily) -> None:
    body = render("text/plain;version=1.0.0;escaping=allow-utf-8", [family])
    expected = generate_latest(registry(copied(family)), "allow-utf-8")
    assert list(map(_sorted_labels, _lines(body))) == list(map(_sorted_labels, _lines(expected)))


@given(blocks(labels=(*LABELS, *UTF_8_LABELS)), st.sampled_from(["allow-utf-8", "values"]))
def test_protobuf(family: BlockFamily, scheme: str) -> None:
    accept = f"{PROTOBUF};escaping={scheme}"
    ours, theirs = decode(render(accept, [family])), decode(render(accept, [copied(family)]))
    for mine, other in zip(ours, theirs, strict=True):
        assert sorted(samples(mine)) == sorted(samples(other))
        if family.shows_created:  # otherwise the samples do not tell
            for one in (*mine.metric, *other.metric):
                _forget_unknown_times(one)
            assert str(mine) == str(other)


def _forget_unknown_times(metric: Any) -> None:
    for name in ("counter", "summary", "histogram"):
        if metric.HasField(name) and not getattr(metric, name).created_timestamp.seconds:
            getattr(metric, name).ClearField("created_timestamp")


def test_openmetrics_is_read_by_the_parser() -> None:
    rows = [Row((route,), (1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.5)) for route in ("/", "/{x}", '"\\')]
    family = BlockFamily(Metric("a", "", "histogram"), ("route",), (0.1, 0.2, 0.5, 1), lambda: rows)
    expected = from_openmetrics(generate_openmetrics(registry(copied(family))))
    assert from_openmetrics(render(OPENMETRICS, [family])) == expected


@pytest.mark.parametrize("accept", ["", OPENMETRICS, PROTOBUF])
@pytest.mark.parametrize(
    "broken",
    [
        Row(("x",), (None,)),  # type: ignore[arg-type]
        Row(("x",), ()),
        Row((None,), (1.0,)),  # type: ignore[arg-type]
        Row((), (1.0,)),
    ],
)
def test_broken_rows_raise(broken: Row, accept: str) -> None:
    family = BlockFamily(Metric("a", "", "counter"), ("b",), (), lambda: [broken])
    with pytest.raises((TypeError, ValueError, IndexError, AttributeError, struct.error)) as raised:
        list(negotiate(accept).family(family))
    assert raised.value is not None


@pytest.mark.parametrize("accept", ["", OPENMETRICS, PROTOBUF])
def test_slices_of_rows_are_short(accept: str) -> None:
    rows = [Row((str(number),), (float(number),)) for number in range(1000)]
    family = BlockFamily(Metric("a", "", "counter"), ("b",), (), lambda: rows)
    pieces = list(negotiate(accept).family(family))
    assert len(pieces) > 30
    assert max(map(len, pieces)) < 4096
