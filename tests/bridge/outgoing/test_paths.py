"""Names in Graphite: sanitised, the same each time, and no two series under one."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.bridge.graphite import GraphiteBridge as TheirBridge

from bridge.systems import Sink
from prom_middleware.bridge import GraphiteBridge
from prom_middleware.bridge.outgoing.paths import PLAIN, STRICTLY_TAGGED, TAGGED, Paths, key_of
from waiting import becomes

FORMS = {"plain": PLAIN, "strictly_tagged": STRICTLY_TAGGED, "tagged": TAGGED}
keys = st.builds(
    lambda name, labels: key_of(name, labels.items()),
    st.text("ab_.:; é", min_size=1, max_size=3),
    st.dictionaries(
        st.text("ab_ n", min_size=1, max_size=2), st.text("ab.;~_ \u2028é", max_size=3), max_size=3
    ),
)


def settled(paths: Paths, series: Sequence[Any]) -> list[str | None]:
    """Return the paths of all series that there are now; those of others are forgotten."""
    paths.settle(series)
    return [paths.get(key) for key in series]


@pytest.mark.parametrize("form", FORMS)
@given(series=st.lists(keys, unique=True))
def test_no_two_series_have_one_path(form: str, series: list[object]) -> None:
    paths = settled(Paths(FORMS[form]), series)
    assert len(set(paths)) == len(series)
    assert all(path and not path.split()[1:] for path in paths)


@given(before=st.lists(keys, unique=True), after=st.lists(keys, unique=True))
def test_a_series_keeps_its_path_as_long_as_it_is_there(
    before: list[object], after: list[object]
) -> None:
    paths = Paths(PLAIN)
    first = dict(zip(before, settled(paths, before), strict=True))
    second = dict(zip(after, settled(paths, after), strict=True))
    assert {key: first[key] for key in first.keys() & second.keys()} == {
        key: second[key] for key in first.keys() & second.keys()
    }


def test_the_series_that_needs_no_sanitising_gets_the_path() -> None:
    paths = Paths(PLAIN)
    lossy, whole = key_of("a", [("b", "c d")]), key_of("a", [("b", "c_d")])
    longer, plain = settled(paths, [lossy, whole])
    assert plain == "a.b.c_d"
    assert longer.startswith("a.b.c_d_")
    assert paths.collisions == 1
    assert settled(paths, [lossy]) == [longer]
    assert settled(paths, [whole]) == ["a.b.c_d"]
    assert paths.collisions == 0


def test_what_graphite_allows_in_tags_stays() -> None:
    key = key_of("http:requests", [("le", "+Inf"), ("path", "/a/{b}=c"), ("name", "x"), ("e", "")])
    assert TAGGED.path(key) == "http:requests;le=+Inf;name_=x;path=/a/{b}=c"


@pytest.mark.parametrize("tags", [False, True])
def test_the_paths_are_those_of_prometheus_client(tags: bool) -> None:
    registry = CollectorRegistry()
    Counter("calls", "help", ["a", "b"], registry=registry).labels("c.:8", "/é x").inc()
    Gauge("name:colon", "help", registry=registry).set(float("inf"))
    Histogram("wait", "help", registry=registry).observe(1.25)
    with patch("time.time", return_value=1434898897.5):
        theirs, ours = (_pushed(bridge, registry, tags) for bridge in (TheirBridge, GraphiteBridge))
    assert ours == theirs


def _pushed(bridge: type, registry: CollectorRegistry, tags: bool) -> str:
    sink = Sink()
    try:
        bridge(sink.address, registry, 5, lambda: 1434898897.5, tags=tags).push("before")
        assert becomes(lambda: "wait_created" in sink.text and sink.text.endswith("\n"), True)
        return sink.text
    finally:
        sink.close()


def test_a_push_that_cannot_be_sent_raises_as_before() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
    with pytest.raises(OSError, match="refused"):
        GraphiteBridge(address, CollectorRegistry(), 1).push()
