"""The request's body, which applications read in more ways than PEP 3333 has."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from metrics import collected, value
from prom_middleware.wsgi import PrometheusMiddleware
from wsgi_door.driver import call, environ

Start = Callable[..., Any]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


class Input:
    """A server's stream whose sizes have names, and that is an iterator."""

    def __init__(self) -> None:
        self.file = io.BytesIO(b"first\nsecond\nthird")

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    def readall(self) -> bytes:
        return self.file.read()

    def readinto(self, buffer: Any) -> int:
        return self.file.readinto(buffer)

    def __iter__(self) -> Input:
        return self

    def __next__(self) -> bytes:
        return next(self.file)


READS: dict[str, tuple[Callable[[Any], object], object, int]] = {
    "next": (next, b"first\n", 6),
    "next, to the end": (lambda stream: [next(stream, b"") for _ in range(5)][3:], [b"", b""], 18),
    "size by name": (lambda stream: stream.read(size=7), b"first\ns", 7),
    "as a raw stream": (lambda stream: stream.readall(), b"first\nsecond\nthird", 18),
    "buffer by name": (lambda stream: stream.readinto(buffer=bytearray(4)), 4, 4),
}


@pytest.mark.parametrize(("read", "result", "count"), READS.values(), ids=READS)
def test_input_is_read_as_the_server_lets_it(
    registry: CollectorRegistry, read: Callable[[Any], object], result: object, count: int
) -> None:
    results: list[object] = []

    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        results.append(read(env["wsgi.input"]))
        start("200 OK", [("Content-Type", "text/plain")])
        return []

    request = environ("POST", **{"wsgi.input": Input(), "CONTENT_LENGTH": "18"})
    assert call(PrometheusMiddleware(app, registry=registry), request).error is None
    assert results == [result]
    assert value(collected(registry), "http_request_body_bytes_total") == count


def _within(stream: Any) -> bytes:
    with stream as same:
        return bytes(same.read())


TAKEN: dict[str, Callable[[Any], bytes]] = {
    "copy": lambda stream: copy.copy(stream).read() + stream.read(),
    "deepcopy": lambda stream: copy.deepcopy(stream).read() + stream.read(),
    "pickle": lambda stream: pickle.loads(pickle.dumps(stream)).read() + stream.read(),
    "with": _within,
}


@pytest.mark.parametrize("take", TAKEN.values(), ids=TAKEN)
def test_input_is_copied_and_closed_as_the_server_s(
    registry: CollectorRegistry, take: Callable[[Any], bytes]
) -> None:
    def reading(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        return [take(env["wsgi.input"])]

    bare = call(reading, environ(body=b"hello"))
    seen_by_us = call(PrometheusMiddleware(reading, registry=registry), environ(body=b"hello"))
    assert seen_by_us.body == bare.body != b""
    assert value(collected(registry), "http_request_body_bytes_total") == 5


def test_input_that_hushes_up_what_is_raised_does_so(registry: CollectorRegistry) -> None:
    class Hushing(io.BytesIO):
        def __exit__(self, *raised: object) -> bool:  # type: ignore[override]
            return True

    def reading(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        with env["wsgi.input"]:
            raise ValueError
        return [b"goes on"]

    request = environ(**{"wsgi.input": Hushing(b"hello"), "CONTENT_LENGTH": "5"})
    assert call(PrometheusMiddleware(reading, registry=registry), request).body == b"goes on"


def test_input_that_is_entered_twice_is_left_twice(registry: CollectorRegistry) -> None:
    left: list[object] = []

    class Told(io.BytesIO):
        def __exit__(self, *raised: object) -> None:
            left.append(raised)

    def reading(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        with env["wsgi.input"] as outer, outer as inner:
            start("200 OK", [])
            return [inner.read()]

    request = environ(**{"wsgi.input": Told(b"hello"), "CONTENT_LENGTH": "5"})
    assert call(PrometheusMiddleware(reading, registry=registry), request).body == b"hello"
    assert left == [(None, None, None)] * 2


def test_input_without_an_exit_is_refused_as_the_server_s(registry: CollectorRegistry) -> None:
    class Bare:
        read = readline = readlines = __iter__ = None

    def reading(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        return [_within(env["wsgi.input"])]

    def error(app: Any) -> Any:
        return type(call(app, environ(CONTENT_LENGTH="5", **{"wsgi.input": Bare()})).error)

    assert error(PrometheusMiddleware(reading, registry=registry)) is error(reading)


@pytest.mark.parametrize(
    ("protocol", "length", "counted"),
    [
        ("HTTP/2", None, 5),
        ("HTTP/2.0", None, 5),
        ("HTTP/3", None, 5),
        ("HTTP/3.0", None, 5),
        ("HTTP/1.1", "5", 5),
        ("HTTP/1.1", None, 0),  # then there is none, whatever the stream says
    ],
)
def test_a_body_that_no_header_announces(
    registry: CollectorRegistry, protocol: str, length: str | None, counted: int
) -> None:
    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        body: bytes = env["wsgi.input"].read()
        start("200 OK", [])
        return [body]

    request = environ("POST", body=b"12345", SERVER_PROTOCOL=protocol, CONTENT_LENGTH=length or "")
    assert call(PrometheusMiddleware(app, registry=registry), request).body == b"12345"
    assert value(collected(registry), "http_request_body_bytes_total") == counted
