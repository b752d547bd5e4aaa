"""Graphite's lines in a registry, and the way from one registry to another over them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from bridge.incoming.sending import sample, shown
from bridge.systems import Samples, gauge, page, registry_of
from prom_middleware.bridge import Bridge, GraphiteCollector
from prom_middleware.bridge.incoming.mapping_file import parse_mapping
from prom_middleware.bridge.outgoing.graphite import Graphite
from prom_middleware.bridge.outgoing.paths import PLAIN, TAGGED
from prom_middleware.errors import OptionError
from waiting import becomes

NOW = 1_700_000_000


def taken(*lines: str, **options: object) -> tuple[Samples, dict[str, float]]:
    registry = CollectorRegistry()
    receiver = GraphiteCollector(registry=registry, clock=lambda: float(NOW), **options)
    receiver.receive([line.encode() for line in lines])
    return shown(registry, receiver)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        (f"a.b.c 1.5 {NOW}", sample("a_b_c"), 1.5),
        (f"a:b-c 1e3 {NOW}.25", sample("a:b_c"), 1000),
        (f"1a -2 {NOW}", sample("_1a"), -2),
        (f"a.b;c=d;e=f=g 3 {NOW}", sample("a_b", c="d", e="f=g"), 3),
        (f"a;1.b=/x/{{y}} 3 {NOW}", sample("a", _1_b="/x/{y}"), 3),
        ("a inf -1", sample("a"), float("inf")),
        (f"a 1 {NOW + 9999}", sample("a"), 1),
        (f"a\t1\t{NOW}\r", sample("a"), 1),
    ],
)
def test_a_line_means(line: str, key: tuple[str, frozenset[tuple[str, str]]], value: float) -> None:
    assert taken(line) == ({key: value}, {})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a 1", "malformed_line"),
        (f"a b 1 {NOW}", "malformed_line"),
        (f"a x {NOW}", "malformed_value"),
        ("a 1 x", "malformed_timestamp"),
        ("a 1 nan", "malformed_timestamp"),
        (f"a 1 {NOW - 300}", "too_old"),
        (f";a=b 1 {NOW}", "empty_metric_name"),
    ],
)
def test_a_line_without_meaning_is_counted(line: str, reason: str) -> None:
    assert taken(line) == ({}, {reason: 1})


def test_a_tag_without_meaning_is_counted() -> None:
    assert taken(f"a;b;c=;=d;e=f 1 {NOW}") == ({sample("a", e="f"): 1}, {"malformed_tag": 3})


def test_rules_and_strict_match() -> None:
    rules = parse_mapping('mappings: [{match: "a.*", name: a, labels: {b: $1}, scale: 10}]')
    assert taken(f"a.x;c=d 1 {NOW}", f"b 1 {NOW}", mapping=rules, strict_match=True) == (
        {sample("a", b="x", c="d"): 10},
        {},
    )


def test_a_sample_expires_after_its_own_time() -> None:
    registry = CollectorRegistry()
    receiver = GraphiteCollector(registry=registry, sample_expiry=10)
    ago = time.time() - 9.5
    receiver.receive([f"old 1 {ago}".encode(), b"new 1 -1"])
    assert becomes(lambda: set(shown(registry, receiver)[0]), {sample("new")}) == {sample("new")}


def test_the_ttl_of_a_rule_goes_before_the_expiry_of_all() -> None:
    rules = parse_mapping(
        "mappings: [{match: short, name: short, ttl: 10s}, {match: long, name: long, ttl: 1h}]"
    )
    lines = [f"{name} 1 {NOW - ago}" for name, ago in (("short", 10), ("long", 300), ("none", 10))]
    assert taken(*lines, mapping=rules) == (
        {sample("long"): 1, sample("none"): 1},
        {"too_old": 1},
    )


@pytest.mark.parametrize(("later", "number"), [(299.0, 1), (300.0, 0)])
def test_a_sample_that_is_ahead_of_our_clock_expires_as_one_of_now(
    later: float, number: int
) -> None:
    registry, now = CollectorRegistry(), [0.0]
    receiver = GraphiteCollector(registry=registry, clock=lambda: float(NOW))
    receiver._store.clock = lambda: now[0]
    receiver.receive([f"a 1 {NOW + 9999}".encode()])
    now[0] = later
    assert len(shown(registry, receiver)[0]) == number


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(OptionError):
        GraphiteCollector(registry=None, sample_expiry=0)
    with pytest.raises(OptionError):
        GraphiteCollector(registry=None, max_series=0)


# What a tag of Graphite may have; `name` is its own.
names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,5}", fullmatch=True)
labels = st.from_regex(r"(?!__)(?!name$)[a-zA-Z_][a-zA-Z0-9_]{0,5}", fullmatch=True)
characters = st.characters(
    exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters=";~"
)
values = st.text(characters, min_size=1, max_size=8)
numbers = st.floats(allow_nan=False)
series = st.dictionaries(
    st.tuples(names, st.dictionaries(labels, values, max_size=3).map(lambda own: (*own.items(),))),
    numbers,
    max_size=8,
)


@given(series)
def test_what_is_sent_with_tags_and_taken_again_is_the_same(
    given_series: dict[tuple[str, tuple[tuple[str, str], ...]], float],
) -> None:
    sent: Samples = {
        (name, frozenset(labels)): value for (name, labels), value in given_series.items()
    }
    assert _over_graphite(sent, TAGGED) == sent


@given(
    st.dictionaries(
        st.tuples(
            names, st.frozensets(st.tuples(labels, st.text(min_size=1, max_size=4)), max_size=1)
        ),
        numbers,
        max_size=8,
    ),
    st.sampled_from([PLAIN, TAGGED]),
)
def test_whatever_the_labels_are_no_sample_is_lost(sent: Samples, form: object) -> None:
    assert sorted(_over_graphite(sent, form).values()) == sorted(sent.values())


def _over_graphite(samples: Samples, form: object) -> Samples:
    families = [gauge(name, (dict(labels), value)) for (name, labels), value in samples.items()]
    batch = Graphite(("", 0), form).batch(families, time.time())
    registry = CollectorRegistry()
    receiver = GraphiteCollector(registry=registry)
    receiver.receive(batch.content.split(b"\n"))
    found, lost = shown(registry, receiver)
    assert not lost
    return found


def test_from_registry_to_registry_over_sockets() -> None:
    there = CollectorRegistry()
    receiver = GraphiteCollector(registry=there)
    listener = receiver.listen(tcp=("127.0.0.1", 0))
    assert listener.tcp
    expected = {sample("number", at=f"/path/{turn}"): float(turn) for turn in range(500)}
    here = registry_of(gauge("number", *((dict(key[1]), value) for key, value in expected.items())))
    try:
        with Bridge(f"graphite://127.0.0.1:{listener.tcp[1]}", here, tags=True):
            assert becomes(lambda: _numbers(there), expected) == expected
    finally:
        receiver.stop()


def _numbers(registry: CollectorRegistry) -> Samples:
    return {key: value for key, value in page(registry).items() if key[0] == "number"}
