"""What stands in the environ while others look into each of its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pickle import dumps, loads
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from looking import look_into
from metrics import collected, in_progress, records, value
from prom_middleware import failures, instrument
from wsgi_door.driver import call, environ, seen, sent

Start = Callable[..., Any]


class Sized:
    """A body that has a length, and is none of the usual kinds."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self.environ = environ

    def __iter__(self) -> Iterator[bytes]:
        yield from streams(self.environ, lambda *_: None)

    def __len__(self) -> int:
        return 2


def streams(environ: dict[str, Any], start: Start) -> Iterator[bytes]:
    start("200 OK", [])
    for piece in (b"one", b"two"):
        assert look_into(environ) == 1
        yield piece
        assert look_into(environ) == 1


def lists(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    assert look_into(environ) == 1
    start("200 OK", [])
    assert look_into(environ) == 1
    return [b"one", b"two"]


def writes(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [])(b"one")
    assert look_into(environ) == 1
    return [b"two"]


def sized(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    return Sized(environ)  # type: ignore[return-value]


@pytest.mark.parametrize("app", [streams, lists, writes, sized])
def test_a_response_is_nothing_that_others_look_into(app: Any) -> None:
    registry, before = CollectorRegistry(), failures.counts()
    exchange = call(instrument(app, registry=registry), environ())
    assert (exchange.error, exchange.body) == (None, b"onetwo")
    assert records(registry) == seen(200)
    assert (in_progress(registry), sent(registry)) == (0, 6)
    assert value(collected(registry), "http_request_duration_seconds_count") == 1
    assert failures.counts() == before


def test_a_pickled_environ_is_of_a_request_of_its_own() -> None:
    registry, before = CollectorRegistry(), failures.counts()
    inner = instrument(lists, registry=registry)

    def outer(request: dict[str, Any], start: Start) -> Iterable[bytes]:
        theirs = {key: value for key, value in request.items() if not key.startswith("wsgi.")}
        return inner({**request, **loads(dumps(theirs))}, start)  # type: ignore[no-any-return]

    exchange = call(instrument(outer, registry=registry), environ())
    assert (exchange.error, exchange.body) == (None, b"onetwo")
    assert records(registry) == seen(200) * 2
    assert failures.counts() == before


def test_what_is_empty_may_be_missing() -> None:
    """PEP 3333: so it is with most variables of CGI."""
    registry, before = CollectorRegistry(), failures.counts()
    asked = environ()
    del asked["SCRIPT_NAME"], asked["PATH_INFO"]
    exchange = call(instrument(lists, registry=registry), asked)
    assert (exchange.error, exchange.body) == (None, b"onetwo")
    assert records(registry) == seen(200)
    assert failures.counts() == before
