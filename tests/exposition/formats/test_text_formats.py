"""Our text and OpenMetrics say what prometheus_client's say, of any family."""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.samples import Exemplar, Sample, Timestamp

from asking import asked
from exposition.formats.comparing import (
    OPENMETRICS,
    PROTOBUF,
    from_openmetrics,
    from_text,
    render,
)
from exposition.formats.metrics_proto import decode
from exposition.formats.random_families import (
    LABELS,
    UTF_8,
    UTF_8_LABELS,
    families,
    registry,
)
from prom_middleware.exposition import scrape
from prom_middleware.exposition.negotiation import negotiate
from prom_middleware.instrumentation.families import BlockFamily, Row

# prometheus_client 0.20 and 0.21 knew classic names only.
knows_utf_8 = pytest.mark.skipif(
    "escaping" not in inspect.signature(generate_latest).parameters,
    reason="this prometheus_client has no escaping schemes",
)
UTF_8_TEXT = "text/plain;version=1.0.0;escaping=allow-utf-8"


def several(**options: Any) -> Any:
    """Return a strategy for families that have different names."""
    return st.lists(families(**options), max_size=3, unique_by=lambda family: family.name)


@given(several())
def test_any_family(given_families: list[Metric]) -> None:
    expected = generate_latest(registry(*given_families))
    assert render("text/plain;version=0.0.4", given_families) == expected
    assert render("text/plain;version=1.0.0", given_families) == expected
    expected = generate_openmetrics(registry(*given_families))
    assert render(OPENMETRICS, given_families) == expected
    assert render("application/openmetrics-text", given_families) == expected


@knows_utf_8
@given(several(names=UTF_8, labels=(*UTF_8_LABELS, *LABELS)))
def test_any_names(given_families: list[Metric]) -> None:
    expected = generate_latest(registry(*given_families), "allow-utf-8")
    assert render(UTF_8_TEXT, given_families) == expected
    expected = generate_openmetrics(registry(*given_families), "allow-utf-8")
    assert render(f"{OPENMETRICS};escaping=allow-utf-8", given_families) == expected


@knows_utf_8
@given(several(names=UTF_8, labels=("http.method", "method")))
def test_underscores_are_those_of_prometheus_client(given_families: list[Metric]) -> None:
    body = render("text/plain", given_families)
    assert body == generate_latest(registry(*given_families), "underscores")


def test_the_parsers_accept_what_they_are_given() -> None:
    family = Metric("a", 'h"\\\n', "histogram")
    for le, value in (("1.0", 1.0), ("+Inf", 2.0)):
        exemplar = Exemplar({"trace_id": "t"}, 0.5, 12.5)
        family.samples.append(Sample("a_bucket", {"x": '"\\\n%', "le": le}, value, None, exemplar))
    family.samples.append(Sample("a_count", {"x": '"\\\n%'}, 2.0))
    family.samples.append(Sample("a_sum", {"x": '"\\\n%'}, 3.0))
    (parsed,) = from_openmetrics(render(OPENMETRICS, [family]))
    assert parsed[-1][0] == (
        "a_bucket",
        [("le", "1.0"), ("x", '"\\\n%')],
        "1.0",
        "None",
        "Exemplar(labels={'trace_id': 't'}, value=0.5, timestamp=Timestamp(12, 500000000))",
    )
    (parsed,) = from_text(render("", [family]))
    assert parsed[-1][1][1] == [("le", "+Inf"), ("x", '"\\\n%')]


@pytest.mark.real
@settings(max_examples=25, deadline=None)
@given(several())
def test_promtool_accepts_any_family(
    real_program: Callable[[str, str], str], given_families: list[Metric]
) -> None:
    promtool = real_program("promtool", "prometheus")
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=render("", given_families),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    # 3: it read all of it, and has remarks about style.
    assert done.returncode in (0, 3), done.stdout


@pytest.mark.parametrize("kind", ["gauge", "summary", "info", "unknown"])
def test_exemplars_stay_out_of_where_they_may_not_be(kind: str) -> None:
    family = Metric("a", "", kind)
    family.samples.append(Sample("a", {}, 1.0, None, Exemplar({"a": "b"}, 1.0)))
    assert b" # {" not in render(OPENMETRICS, [family])


def test_exemplars_that_are_too_long_stay_out() -> None:
    for length, shown in ((127, True), (128, False)):
        family = Metric("a", "", "counter")
        exemplar = Exemplar({"a": "°" * length}, 1.0)
        family.samples.append(Sample("a_total", {}, 1.0, None, exemplar))
        assert (b" # {" in render(OPENMETRICS, [family])) is shown


BROKEN_EXEMPLARS = {
    "a time that is no number": Exemplar({"a": "b"}, 1.0, float("nan")),
    "a time that never comes": Exemplar({"a": "b"}, 1.0, float("inf")),
    "a value that is none": Exemplar({"a": "b"}, None),  # type: ignore[arg-type]
    "names that become equal": Exemplar({"a.b": "1", "a_b": "2"}, 1.0),
    "a label that is a number": Exemplar({"a": 1}, 1.0),  # type: ignore[dict-item]
    "no labels at all": Exemplar(None, 1.0),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("broken", BROKEN_EXEMPLARS)
def test_exemplars_that_cannot_be_written_stay_out_alone(broken: str) -> None:
    family = Metric("a", "", "counter")
    family.samples += [
        Sample("a_total", {"b": "1"}, 1.0, None, BROKEN_EXEMPLARS[broken]),
        Sample("a_total", {"b": "2"}, 2.0, None, Exemplar({"a": "b"}, 1.0)),
    ]
    rows = [
        Row(("1",), (1.0,), 0.0, {0: BROKEN_EXEMPLARS[broken]}),
        Row(("2",), (2.0,), 0.0, {0: Exemplar({"a": "b"}, 1.0)}),
    ]
    block = BlockFamily(Metric("a", "", "counter"), ("b",), (), lambda: rows)
    for one in (family, block):
        body = render(OPENMETRICS, [one]).decode()
        assert 'a_total{b="1"} 1.0\n' in body
        assert 'a_total{b="2"} 2.0 # {a="b"} 1.0\n' in body
        (decoded,) = decode(render(PROTOBUF, [one]))
        first, second = (metric.counter for metric in decoded.metric)
        assert not first.HasField("exemplar")
        assert second.exemplar.label[0].value == "b"


def test_a_begin_that_is_no_time_stays_out_of_protobuf() -> None:
    family = Metric("a", "", "counter")
    family.samples += [Sample("a_total", {}, 1.0), Sample("a_created", {}, float("nan"))]
    (decoded,) = decode(render(PROTOBUF, [family]))
    assert decoded.metric[0].counter.value == 1
    assert not decoded.metric[0].counter.HasField("created_timestamp")
    two = render("application/openmetrics-text;version=2.0.0", [family])
    assert b"\na_total 1.0\n" in two


def test_text_has_no_times_before_1970() -> None:
    family = Metric("a", "", "gauge")
    family.samples = [Sample("a", {}, time, time) for time in (-0.0005, -0.001, -5.5, 1.5)]
    lines = render("text/plain", [family]).decode().splitlines()[2:]
    assert lines == ["a -0.0005 0", "a 1.5 1500"]
    assert b"\na -5.5 -5.5\n" in render(OPENMETRICS, [family])
    family.samples.append(Sample("a", {}, 2.0, Timestamp(-2, 500_000_000)))
    assert b"\na 2.0 -2.5\n" in render(OPENMETRICS, [family])
    assert b"a 2.0" not in render("text/plain", [family])
    del family.samples[-1]
    (decoded,) = decode(render(PROTOBUF, [family]))
    assert [metric.timestamp_ms for metric in decoded.metric] == [0, -1, -5500, 1500]


@pytest.mark.parametrize("text", ["\ud800", "caf\udce9.txt"])
def test_half_a_character_is_shown_by_its_number(text: str) -> None:
    shown = "\ufffdd800" if text == "\ud800" else "caf\ufffddce9.txt"
    family = sample(labels={"l": text})
    family.documentation = text
    block = BlockFamily(Metric("a", text, "gauge"), ("l",), (), lambda: [Row((text,), (1.0,))])
    for one in (family, block):
        for accept in ("", OPENMETRICS):
            body = render(accept, [one]).decode()
            assert f'a{{l="{shown}"}} 1.0\n' in body
            assert f"# HELP a {shown}\n" in body
        (decoded,) = decode(render(PROTOBUF, [one]))
        assert (decoded.help, decoded.metric[0].label[0].value) == (shown, shown)


def sample(**changes: Any) -> Any:
    """Return a family with one sample that has something wrong."""
    family = Metric("a", "d", "gauge")
    family.samples.append(Sample("a", {"l": "v"}, 1.0)._replace(**changes))
    return family


def changed(**changes: Any) -> Any:
    family = Metric("a", "d", "gauge")
    for name, value in changes.items():
        setattr(family, name, value)
    return family


GARBAGE = {
    "no family": None,
    "a string": "a",
    "no name": changed(name=None),
    "an empty name": changed(name=""),
    "a documentation that is no text": changed(documentation=3),
    "an odd type": changed(type="thing"),
    "no samples": changed(samples=None),
    "odd samples": changed(samples=[1]),
    "no value": sample(value=None),
    "a word": sample(value="many"),
    "a label that is no string": sample(labels={"l": 1}),
    "a label of nothing": sample(labels={"l": None}),
    "labels of nothing": sample(labels=7),
    "a label without a name": sample(labels={"": "v"}),
    "names that become equal": sample(labels={"a.b": "1", "a/b": "2"}),
    "a sample without a name": sample(name=""),
    "a time that is none": sample(timestamp="noon"),
    "a time that never comes": sample(timestamp=float("nan")),
}
FORMS = ("text/plain", OPENMETRICS)


@pytest.mark.parametrize("accept", FORMS)
@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_raises_before_anything_of_it_is_there(garbage: str, accept: str) -> None:
    pieces = negotiate(accept).family(GARBAGE[garbage])
    with pytest.raises((TypeError, ValueError, AttributeError)):
        next(pieces)


DRAFT = "application/openmetrics-text;version=2.0.0"


@pytest.mark.parametrize("accept", [*FORMS, DRAFT, PROTOBUF])
def test_a_family_without_help_is_shown_without_it(accept: str) -> None:
    family = Metric("a", "A.", "gauge")
    family.add_sample("a", {}, 1.0)
    with_help = scrape(registry(family), asked(accept=accept)).body
    family.documentation = None  # type: ignore[assignment]
    without = scrape(registry(family), asked(accept=accept)).body
    assert b"A." in with_help
    assert b"HELP" not in without
    if accept == PROTOBUF:
        (decoded,) = decode(without)
        assert (decoded.HasField("help"), decoded.metric[0].gauge.value) == (False, 1)
    else:
        lines = with_help.split(b"\n")
        assert without.split(b"\n") == [line for line in lines if b"A." not in line]


def test_slices_are_short() -> None:
    family = Metric("a", "d", "gauge")
    family.samples = [Sample("a", {"l": str(number)}, 1.0) for number in range(1000)]
    for accept in FORMS:
        pieces = list(negotiate(accept).family(family))
        assert len(pieces) > 10
        assert max(map(len, pieces)) < 4096


def test_prometheus_client_itself_is_shown() -> None:
    empty = CollectorRegistry()
    assert render("", empty.collect()) == b""
    assert render(OPENMETRICS, empty.collect()) == b"# EOF\n"
