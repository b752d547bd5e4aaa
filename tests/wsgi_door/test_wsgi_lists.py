"""Lists, which some servers take whole: granian, and others that are made in C."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable
from copy import copy, deepcopy
from operator import getitem
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from metrics import in_progress, records
from prom_middleware.wsgi import PrometheusMiddleware
from wsgi_door.driver import answers, environ, ignore, seen, sent

Start = Callable[..., Any]
PLAIN = (("Content-Type", "text/plain"),)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def listing(registry: CollectorRegistry, *pieces: bytes) -> Any:
    return PrometheusMiddleware(answers([*pieces]), registry=registry)(environ(), ignore)


def test_a_list_stays_one(registry: CollectorRegistry) -> None:
    given = listing(registry, b"one", b"two", b"three")
    assert isinstance(given, list)
    assert (len(given), given[0], given[1:]) == (3, b"one", [b"two", b"three"])
    assert in_progress(registry) == 1
    assert b"".join(given) == b"onetwothree"
    assert (records(registry), sent(registry)) == (seen(200), 11)


@pytest.mark.parametrize("kind", [list, tuple])
def test_pieces_are_counted_once(registry: CollectorRegistry, kind: Any) -> None:
    """While it sends the first, gevent's server adds them up for a Content-Length."""
    body = kind([b"one", b"two", b"three"])
    given: Any = PrometheusMiddleware(answers(body), registry=registry)(environ(), ignore)
    pieces = iter(given)
    assert next(pieces) == b"one"
    assert sum(len(piece) for piece in given) == 11
    assert (in_progress(registry), sent(registry)) == (1, 0)
    assert [*pieces] == [b"two", b"three"]
    given.close()
    assert (records(registry), sent(registry)) == (seen(200), 11)


def test_a_list_that_is_changed_outside_of_us(registry: CollectorRegistry) -> None:
    given = listing(registry, b"one")
    given.append(b"more")
    assert [*given] == [b"one", b"more"]
    given.close()
    assert (records(registry), sent(registry)) == (seen(200), 7)


def test_a_list_behind_two_doors() -> None:
    inner, outer = CollectorRegistry(), CollectorRegistry()
    app = PrometheusMiddleware(answers([b"one"]), registry=inner)
    door = PrometheusMiddleware(app, registry=outer)
    given: Any = door(environ(), ignore)
    assert isinstance(given, list)
    given.append(b"more")
    assert [*given] == [b"one", b"more"]
    door(environ(), ignore).close()  # type: ignore[attr-defined]
    for registry in (inner, outer):
        assert (records(registry), sent(registry)) == (seen(200) * 2, 7)
        assert in_progress(registry) == 0


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_list_whose_client_leaves(registry: CollectorRegistry, kind: Any) -> None:
    """Pieces of the like of bytes some servers take."""
    given = listing(registry, kind(b"one"), kind(b"two"))
    assert next(iter(given)) == b"one"
    given.close()
    assert (records(registry), sent(registry)) == (seen(200, outcome="disconnect"), 3)


@pytest.mark.parametrize("doors", [1, 2])
@pytest.mark.parametrize("kind", [list, tuple])
def test_pieces_that_were_looked_into_are_counted_from_the_start(kind: Any, doors: int) -> None:
    registries = [CollectorRegistry() for _ in range(doors)]
    door = answers(kind([b"one", b"two", b"three"]))
    for registry in registries:
        door = PrometheusMiddleware(door, registry=registry)
    given: Any = door(environ(), ignore)
    assert any(given)
    assert any(given)
    assert b"".join(given) == b"onetwothree"
    assert b"".join(given) == b"onetwothree"
    given.close()
    for registry in registries:
        assert (records(registry), sent(registry)) == (seen(200), 11)


@pytest.mark.parametrize("copied", [copy, deepcopy, lambda body: pickle.loads(pickle.dumps(body))])
def test_a_copy_of_a_list_is_of_the_body_alone(registry: CollectorRegistry, copied: Any) -> None:
    given = listing(registry, b"one", b"two")
    kept = copied(given)
    assert (type(kept), kept) == (list, [b"one", b"two"])
    assert in_progress(registry) == 1
    assert b"".join(given) == b"onetwo"
    assert (records(registry), sent(registry)) == (seen(200), 6)


READERS: dict[str, tuple[Callable[[Any], object], float, str]] = {
    "in C": (list.copy, 6, "complete"),
    "joined": (b"".join, 6, "complete"),
    "iterated": (lambda given: [*given], 6, "complete"),
    "begun": (lambda given: next(iter(given)), 3, "disconnect"),
    "asked for an iterator": (lambda given: iter(given) and None, 6, "complete"),
    "closed unread": (lambda given: given.close(), 0, "complete"),
}


@pytest.mark.parametrize(("read", "count", "outcome"), READERS.values(), ids=READERS)
def test_a_list_that_is_dropped_does_not_wait_for_the_garbage_collector(
    registry: CollectorRegistry, read: Callable[[Any], object], count: float, outcome: str
) -> None:
    request = environ()
    gc.disable()
    try:
        given = PrometheusMiddleware(answers([b"one", b"two"]), registry=registry)(request, ignore)
        read(given)
        request.clear()  # as servers do
        del given
        assert (records(registry), sent(registry)) == (seen(200, outcome=outcome), count)
        assert in_progress(registry) == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("take", [list.__getitem__, getitem], ids=["in C", "as others"])
def test_a_list_that_is_left_after_a_look_at_a_piece(
    registry: CollectorRegistry, take: Callable[[Any, int], bytes]
) -> None:
    """WebOb takes the only piece, and middleware puts another one in its place.

    bjoern takes it in C, and drops the list before it sends anything.
    """
    gc.disable()
    try:
        request = environ()
        given: Any = PrometheusMiddleware(answers([b"one"]), registry=registry)(request, ignore)
        assert take(given, 0) == b"one"
        del given
        assert in_progress(registry) == 1
        del request
        assert (records(registry), sent(registry)) == (seen(200), 3)
        assert in_progress(registry) == 0
    finally:
        gc.enable()
