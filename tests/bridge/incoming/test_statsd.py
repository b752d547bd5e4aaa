"""StatsD's lines: what they mean, and why some mean nothing. Reasons are statsd_exporter's."""

from __future__ import annotations

from math import isinf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.incoming.sending import received, sample
from prom_middleware.bridge.incoming import statsd
from prom_middleware.bridge.incoming.lines import number
from prom_middleware.bridge.incoming.values import Set

LINES: list[tuple[str, tuple[str, frozenset[tuple[str, str]]], float]] = [
    ("foo:2|c", sample("foo_total"), 2),
    ("foo_total:2|c", sample("foo_total"), 2),
    ("foo:3|g", sample("foo"), 3),
    ("foo:3|g|@0.2", sample("foo"), 3),
    ("foo:-10|g", sample("foo"), -10),
    ("foo:+inf|g", sample("foo"), float("inf")),
    ("foo:200|ms", sample("foo_sum"), 0.2),
    ("foo:200|ms", sample("foo", quantile="0.99"), 0.2),
    ("foo:200|h", sample("foo_sum"), 200),
    ("foo:200|d", sample("foo_sum"), 200),
    ("foo:0.01|d|@0.2|#tag1:bar,#tag2:baz", sample("foo_count", tag1="bar", tag2="baz"), 5),
    ("foo:100|c|@0.1|#tag1:bar,#tag2:baz", sample("foo_total", tag1="bar", tag2="baz"), 1000),
    ("foo:100|c|@0.1|#tag1:foo:bar", sample("foo_total", tag1="foo:bar"), 1000),
    ("foo:100|c|#09digits:0,tag.dots:1", sample("foo_total", _09digits="0", tag_dots="1"), 100),
    ("foo:100|c|#__name__:x,__x:y", sample("foo_total", _name__="x", _x="y"), 100),
    ("foo#tag1=bar,tag2=baz:100|c", sample("foo_total", tag1="bar", tag2="baz"), 100),
    ("foo,tag1=bar,tag2=baz:100|c", sample("foo_total", tag1="bar", tag2="baz"), 100),
    ("foo.[tag1=bar]test:100|c", sample("foo_test_total", tag1="bar"), 100),
    ("foo.test[tag1=bar,tag2=baz]:1|c", sample("foo_test_total", tag1="bar", tag2="baz"), 1),
    ("foo.timing:0.5|ms|@0.1", sample("foo_timing_count"), 10),
    ("foo:2|c|@0", sample("foo_total"), 2),
    ("foo:1:2:3|ms", sample("foo_count"), 3),
    ("foo:1:2:3|d|#a:b", sample("foo_sum", a="b"), 6),
    ("foo:1:2|c", sample("foo_total"), 3),
    ("foo:1|c:2|c|@0.5", sample("foo_total"), 5),
    ("foo:1|c|#a:b|c:83c0a99c", sample("foo_total", a="b"), 1),
    ("foo:1|c|c:83c0a99c", sample("foo_total"), 1),
    ("foo:1|c|#a:b|T1656581400", sample("foo_total", a="b"), 1),
    ("foo-bar--baz.1é:1|c", sample("foo_bar_baz_1__total"), 1),
    ("1foo:1|c", sample("_1foo_total"), 1),
    ("foo:a|s", sample("foo"), 1),
    ("foo:1|c\r", sample("foo_total"), 1),
]


@pytest.mark.parametrize(
    ("line", "key", "value"), LINES, ids=[f"{row[0]} {row[1][0]}" for row in LINES]
)
def test_a_line_means(line: str, key: tuple[str, frozenset[tuple[str, str]]], value: float) -> None:
    samples, lost = received(line)
    assert samples[key] == pytest.approx(value)
    assert not lost


LOST = {
    "foo": "malformed_line",
    ":100|ms": "malformed_line",
    "foo:": "malformed_line",
    "foo:1": "not_enough_parts_after_colon",
    "foo:1|c|": "malformed_component",
    "foo:1o|c": "malformed_value",
    "foo:1_0|c": "malformed_value",
    "foo:|c": "malformed_value",
    "foo:nan|c": "malformed_value",
    "foo:+nan|g": "malformed_value",
    "foo:1e999|g": "malformed_value",
    "foo:inf|ms": "malformed_value",
    "foo:1e300|c|@1e-9": "malformed_value",
    "foo:2|t": "illegal_event",
    "foo:-1|c": "illegal_negative_counter",
    "foo:a:b|s": "invalid_extended_aggregate_type",
    "foo#a=b:1|c|#a:b": "mixed_tagging_styles",
    "_e{5,4}:title|text": "event",
    "_sc|name|0": "service_check",
}


@pytest.mark.parametrize("line", LOST)
def test_a_line_without_meaning_is_counted(line: str) -> None:
    assert received(line) == ({}, {LOST[line]: 1})


LOST_IN_PART = {
    "foo:1|c|@bar": "invalid_sample_factor",
    "foo:1|c|@-1": "invalid_sample_factor",
    "foo:1|c|@nan": "invalid_sample_factor",
    "foo:1|c|@1e-10": "invalid_sample_factor",
    "foo:1|c|x": "invalid_sample_factor",
    "foo:1|c|#tag": "malformed_tag",
    "foo:1|c|#tag:": "malformed_tag",
    "foo[tag=bar:1|c": "malformed_tag",
    "foo]:1|c": "malformed_tag",
}


@pytest.mark.parametrize("line", LOST_IN_PART)
def test_what_is_wrong_beside_the_number_is_counted(line: str) -> None:
    samples, lost = received(line)
    assert list(samples.values()) == [1]
    assert lost == {LOST_IN_PART[line]: 1}


@pytest.mark.parametrize("rate", ["1e-10", "1e-300", "1e-320"])
def test_a_rate_that_nobody_means_spoils_no_count(rate: str) -> None:
    samples, lost = received(f"foo:0|ms|@{rate}", "foo:1|ms|@0.5")
    assert samples[sample("foo_count")] == 1 + 2
    assert lost == {"invalid_sample_factor": 1}


def test_gauges_move_and_are_set() -> None:
    assert received("foo:5|g", "foo:+3|g", "foo:-1|g") == ({sample("foo"): 7}, {})
    assert received("foo:5|g", "foo:3|g") == ({sample("foo"): 3}, {})


def test_sets_count_their_members() -> None:
    samples, _ = received("users:ann|s", "users:bob|s", "users:ann|s", "users:3|s")
    assert samples == {sample("users"): 3}


def test_a_full_set_takes_the_members_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(statsd.VALUES, "set", lambda rule: Set(2, lambda: 0.0))
    samples, lost = received("users:ann|s", "users:bob|s", "users:eve|s", "users:ann|s")
    assert samples == {sample("users"): 2}
    assert lost == {"set_full": 1}


@pytest.mark.parametrize(("later", "number"), [(19.9, 1), (20.0, 0), (600.0, 0)])
def test_a_member_counts_for_20_seconds_at_most(later: float, number: int) -> None:
    now = [0.0]
    members = Set(9, lambda: now[0])
    assert members.add("ann")
    now[0] = later
    assert list(members.samples()) == [("", {}, number)]


def test_one_name_has_one_type() -> None:
    assert received("foo:1|g", "foo:1|ms", "foo:a|s") == (
        {sample("foo"): 1},
        {"conflicting_type": 2},
    )
    assert received("foo:1|ms", "foo_count:1|g")[1] == {"conflicting_type": 1}


def test_labels_of_a_summarys_own_are_no_tags() -> None:
    samples, lost = received("foo:1|ms|#quantile:x,a:b")
    assert samples[sample("foo_count", a="b")] == 1
    assert lost == {"reserved_tag": 1}


def test_what_is_not_utf8_is_counted() -> None:
    assert received(b"foo:1|c|#a:\xc3\x28", b"\xff") == ({}, {"malformed_line": 2})


def test_a_mistake_of_ours_is_counted_and_takes_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, text: str) -> float:
        raise RuntimeError("ours")

    monkeypatch.setattr("prom_middleware.bridge.incoming.statsd.StatsdCollector._rate", broken)
    assert received("a:1|c|@0.5", "b:1|c") == ({sample("b_total"): 1}, {"failure": 1})


@given(st.lists(st.binary(max_size=60) | st.text("foo:1|c@#.,=[]-+e\n", max_size=30)))
@example(["foo:1|c|@1e-320", "foo:1|ms|@1e-308"])
def test_no_line_does_harm(lines: list[bytes | str]) -> None:
    samples, lost = received(*lines)
    assert all(name.isidentifier() for name, _ in samples)
    assert sum(lost.values()) >= 0


@example("1E310")
@example("-inf")
@given(st.text("0123456789.eE+-_nfaity xX", max_size=8) | st.floats().map(repr))
def test_numbers_are_those_that_go_reads_too(text: str) -> None:
    try:
        expected = float(text) if text.strip() == text and "_" not in text else None
    except ValueError:
        expected = None
    if expected is not None and isinf(expected) and "inf" not in text.lower():
        expected = None  # out of range
    found = number(text)
    assert found == expected or (found != found and expected != expected)


@pytest.mark.parametrize("first", ["plain", "sampled"])
def test_quantiles_weigh_what_was_sampled(first: str) -> None:
    plain, sampled = ["foo:1|h"] * 1000, ["foo:5|h|@0.0001"]
    lines = plain + sampled if first == "plain" else sampled + plain
    samples, _ = received(*lines)
    assert samples[sample("foo_count")] == 11_000
    assert samples[sample("foo", quantile="0.5")] == 5


def test_quantiles_are_those_of_as_many_observations() -> None:
    lines = [f"foo:{number}|h|@0.001" for number in range(1, 1001)]
    samples, _ = received(*lines)
    for quantile in (0.5, 0.9):
        found = samples[sample("foo", quantile=str(quantile))]
        assert found == pytest.approx(quantile * 1000, abs=200)  # eight deviations
