"""What stands in the environ while others look into each of its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
