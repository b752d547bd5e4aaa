"""What the WSGI door does beside counting: bytes, options, scrapes, PEP 3333 itself."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import shift_path_info
from wsgiref.validate import validator

import pytest
from prometheus_client import CollectorRegistry

from metrics import collected, in_progress, records, series, value
from prom_middleware.wsgi import PrometheusMiddleware, make_wsgi_app
from wsgi_door.driver import Exchange, call, environ

Start = Callable[..., Any]
PLAIN = (("Content-Type", "text/plain"),)
BODY = b"first line\nsecond line\nthird"


def hello(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [*PLAIN])
    return [b"hello"]


def reader(read: Callable[[Any], object]) -> Any:
    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [*PLAIN])
        return [repr(read(env["wsgi.input"])).encode()]

    return app


def readinto(stream: Any) -> bytes:
    buffer = bytearray(100)
    return bytes(buffer[: stream.readinto(buffer)])


READS: dict[str, tuple[Callable[[Any], object], int]] = {
    "read": (lambda stream: stream.read(), len(BODY)),
    "read-some": (lambda stream: stream.read(7), 7),
    "read-to-the-end": (lambda stream: [stream.read(9) for _ in range(9)], len(BODY)),
    "readline": (lambda stream: stream.readline(), len(b"first line\n")),
    "readline-size": (lambda stream: stream.readline(3), 3),
    "readlines": (lambda stream: stream.readlines(), len(BODY)),
    "iteration": (list, len(BODY)),
    "for-and-read": (lambda stream: [next(iter(stream)), stream.read()], len(BODY)),
    "readinto": (readinto, len(BODY)),
    "read1": (lambda stream: stream.read1(5), 5),
    "readinto1": (lambda stream: stream.readinto1(bytearray(6)), 6),
    "rewound": (lambda stream: [stream.read(), stream.seek(0), stream.read()], len(BODY)),
    "rewound-to-the-middle": (
        lambda stream: [stream.read(9), stream.seek(4), stream.read(3), stream.read()],
        len(BODY),
    ),
    "rewound-by-name": (
        lambda stream: [stream.readline(), stream.seek(-4, io.SEEK_CUR), list(stream)],
        len(BODY),
    ),
    "rewound-twice": (
        lambda stream: [(stream.seek(0), readinto(stream)) for _ in range(3)],
        len(BODY),
    ),
    "measured": (lambda stream: [stream.seek(0, 2), stream.read(), stream.seek(0)], 0),
    "measured-and-read": (
        lambda stream: [stream.seek(0, 2), stream.tell(), stream.seek(0), stream.read(5)],
        5,
    ),
    "skipped": (lambda stream: [stream.seek(5), stream.read(3), stream.seek(0), stream.read(8)], 8),
    "skipped-and-left": (lambda stream: [stream.seek(5), stream.read(3)], 8),
    "wrapped": (lambda stream: io.BufferedReader(stream).read(), len(BODY)),
    "not-read": (lambda stream: None, 0),
}


@pytest.mark.parametrize(("read", "expected"), READS.values(), ids=READS.keys())
def test_bytes_in(read: Callable[[Any], object], expected: int) -> None:
    registry = CollectorRegistry()
    app = reader(read)
    bare = call(app, environ("POST", body=BODY))
    exchange = call(PrometheusMiddleware(app, registry=registry), environ("POST", body=BODY))
    assert exchange.error is None
    assert exchange.body == bare.body
    assert value(collected(registry), "http_request_body_bytes_total") == expected


class Silent(io.BytesIO):
    """A stream that can be rewound, and does not tell where it stands."""

    def tell(self) -> int:
        raise OSError("no position")


class SilentOnceSought(io.BytesIO):
    """A stream that tells where it stands as long as it was not moved."""

    moved = False

    def seek(self, *place: int) -> int:
        self.moved = True
        return super().seek(*place)

    def tell(self) -> int:
        if self.moved:
            raise OSError("no position")
        return super().tell()


@pytest.mark.parametrize("kind", [Silent, SilentOnceSought])
def test_a_stream_that_does_not_tell_is_read_as_it_is(kind: Any) -> None:
    app = reader(lambda stream: [stream.read(), stream.seek(0), stream.read(5)])
    registry = CollectorRegistry()
    request = environ("POST", body=BODY, **{"wsgi.input": kind(BODY)})
    exchange = call(PrometheusMiddleware(app, registry=registry), request)
    assert exchange.error is None
    assert exchange.body == repr([BODY, 0, BODY[:5]]).encode()
    assert value(collected(registry), "http_request_body_bytes_total") == len(BODY) + 5


class Named(io.BytesIO):
    """A stream whose arguments have names, as gunicorn's and gevent's do."""

    def readline(self, size: int | None = -1) -> bytes:
        return super().readline(size)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        return super().readlines(hint)


def test_arguments_of_a_stream_may_be_named() -> None:
    app = reader(lambda stream: [stream.readline(size=3), stream.readlines(hint=1)])
    registry = CollectorRegistry()
    request = environ("POST", body=BODY, **{"wsgi.input": Named(BODY)})
    exchange = call(PrometheusMiddleware(app, registry=registry), request)
    assert exchange.error is None
    read = len(BODY.splitlines(keepends=True)[0])
    assert value(collected(registry), "http_request_body_bytes_total") == read


def test_what_is_only_peeked_into_is_counted_when_it_is_read() -> None:
    app = reader(lambda stream: [stream.peek(3), stream.read(4)])
    registry = CollectorRegistry()
    request = environ("POST", body=BODY, **{"wsgi.input": io.BufferedReader(io.BytesIO(BODY))})
    call(PrometheusMiddleware(app, registry=registry), request)
    assert value(collected(registry), "http_request_body_bytes_total") == 4


@pytest.mark.parametrize("length", ["nonsense", "-1", "", "١٢", "9" * 5000])
def test_a_malformed_content_length_is_harmless(length: str) -> None:
    registry = CollectorRegistry()
    request = environ("POST", body=BODY, CONTENT_LENGTH=length)
    request["CONTENT_LENGTH"] = length
    exchange = call(PrometheusMiddleware(hello, registry=registry), request)
    assert exchange.body == b"hello"
    assert records(registry) == [("POST", "<unmatched>", 200, "", "complete")]
    assert value(collected(registry), "http_request_body_bytes_total") == 0


def test_a_chunked_request_body_is_counted() -> None:
    registry = CollectorRegistry()
    request = environ("POST", body=BODY, HTTP_TRANSFER_ENCODING="chunked")
    del request["CONTENT_LENGTH"]
    call(PrometheusMiddleware(reader(lambda stream: stream.read()), registry=registry), request)
    assert value(collected(registry), "http_request_body_bytes_total") == len(BODY)


def test_the_input_keeps_what_else_the_server_s_stream_can_do() -> None:
    request = environ("POST", body=BODY)
    app = PrometheusMiddleware(reader(lambda stream: stream.tell()), registry=CollectorRegistry())
    assert call(app, request).body == b"0"


@pytest.mark.parametrize(("method", "expected"), [("GET", 5), ("POST", 5), ("HEAD", 0)])
def test_bytes_out_are_what_was_sent(method: str, expected: int) -> None:
    registry = CollectorRegistry()
    call(PrometheusMiddleware(hello, registry=registry), environ(method))
    assert value(collected(registry), "http_response_body_bytes_total") == expected


def test_bytes_out_of_write_and_iterable_are_added() -> None:
    registry = CollectorRegistry()

    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [*PLAIN])(b"12")
        return iter([b"345", b""])

    call(PrometheusMiddleware(app, registry=registry), environ())
    assert value(collected(registry), "http_response_body_bytes_total") == 5


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_body_with_a_length_keeps_it(kind: Any) -> None:
    """Servers make a Content-Length of a single piece."""

    def app(env: dict[str, Any], start: Start) -> Any:
        start("200 OK", [*PLAIN])
        return kind([b"hello"])

    body = PrometheusMiddleware(app, registry=CollectorRegistry())(environ(), lambda *_: None)
    assert len(body) == 1  # type: ignore[arg-type]
    assert list(body) == [b"hello"]


def test_a_body_without_a_length_gets_none() -> None:
    def app(env: dict[str, Any], start: Start) -> Iterator[bytes]:
        start("200 OK", [*PLAIN])
        yield b"hello"

    body = PrometheusMiddleware(app, registry=CollectorRegistry())(environ(), lambda *_: None)
    assert not hasattr(body, "__len__")


class Remaining:
    """An iterator whose length is what is left, 0 at its end."""

    def __init__(self) -> None:
        self.left = [b"a", b"b"]

    def __len__(self) -> int:
        return len(self.left)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self.left:
            raise StopIteration
        return self.left.pop(0)


def test_an_iterator_that_is_false_at_its_end() -> None:
    registry = CollectorRegistry()

    def app(env: dict[str, Any], start: Start) -> Any:
        start("200 OK", [*PLAIN])
        return Remaining()

    exchange = call(PrometheusMiddleware(app, registry=registry), environ())
    assert exchange.error is None
    assert exchange.body == b"ab"
    assert records(registry) == [("GET", "<unmatched>", 200, "", "complete")]


def test_the_duration_is_that_of_the_last_byte() -> None:
    registry = CollectorRegistry()

    def app(env: dict[str, Any], start: Start) -> Iterator[bytes]:
        start("200 OK", [*PLAIN])
        yield b"soon"
        time.sleep(0.05)
        yield b"late"

    call(PrometheusMiddleware(app, registry=registry), environ())
    assert value(collected(registry), "http_request_duration_seconds_sum") >= 0.05


@pytest.mark.parametrize(
    "header",
    [
        "text/event-stream",
        "text/event-stream; charset=utf-8",
        "text/event-stream;charset=utf-8",
        "text/event-stream ; charset=utf-8",  # RFC 9110 section 5.6.6: blanks on both sides
    ],
)
def test_an_event_stream_is_not_a_latency(header: str) -> None:
    registry = CollectorRegistry()

    def app(env: dict[str, Any], start: Start) -> Iterator[bytes]:
        start("200 OK", [("content-type", header)])
        yield b"data: 1\n\n"

    call(PrometheusMiddleware(app, registry=registry), environ())
    samples = collected(registry)
    assert value(samples, "http_requests_total", {"status": "200"}) == 1
    assert value(samples, "http_stream_duration_seconds_count", {"route": "<unmatched>"}) == 1
    assert value(samples, "http_request_duration_seconds_count") == 0


def breaks_at_once(start: Start) -> Iterator[bytes]:
    raise ConnectionError("no events")
    yield b""


def breaks_before_its_body(start: Start) -> Iterable[bytes]:
    raise ConnectionError("no events")


def starts_over(start: Start) -> Iterable[bytes]:
    try:
        raise ConnectionError("no events")
    except ConnectionError:
        start("500 Internal Server Error", [*PLAIN], sys.exc_info())
    return [b"sorry"]


@pytest.mark.parametrize("breaks", [breaks_at_once, breaks_before_its_body, starts_over])
def test_an_event_stream_of_which_nothing_was_sent_is_an_answer_as_others(breaks: Any) -> None:
    """What the client gets is a short page, by the server or by whoever stands between."""
    registry = CollectorRegistry()

    def app(env: dict[str, Any], start: Start) -> Any:
        start("200 OK", [("Content-Type", "text/event-stream")])
        return breaks(start)

    call(PrometheusMiddleware(app, registry=registry), environ())
    samples = collected(registry)
    assert value(samples, "http_request_duration_seconds_count", {"status": "500"}) == 1
    assert value(samples, "http_stream_duration_seconds_count") == 0


@pytest.mark.parametrize("header", ["HTTP_X_REQUEST_START", "HTTP_X_QUEUE_START"])
def test_the_proxy_s_header_tells_the_queue(header: str) -> None:
    registry = CollectorRegistry()
    app = PrometheusMiddleware(hello, registry=registry)
    call(app, environ(**{header: f"t={time.time() - 3:.3f}"}))
    samples = collected(registry)
    assert value(samples, "http_request_queue_seconds_count") == 1
    assert 2 <= value(samples, "http_request_queue_seconds_sum") < 3600


def test_a_nonsense_queue_header_is_harmless() -> None:
    registry = CollectorRegistry()
    app = PrometheusMiddleware(hello, registry=registry)
    call(app, environ(HTTP_X_REQUEST_START="yesterday"))
    assert value(collected(registry), "http_request_queue_seconds_count") == 0
    assert records(registry) == [("GET", "<unmatched>", 200, "", "complete")]


@pytest.mark.parametrize("exclude", ["/health", re.compile("^/hea"), lambda path: "alt" in path])
def test_excluded_paths_pass_without_a_record(exclude: Any) -> None:
    registry = CollectorRegistry()
    app = PrometheusMiddleware(hello, registry=registry, exclude=[exclude])
    assert call(app, environ(path="/health")).body == b"hello"
    assert records(registry) == []
    call(app, environ(path="/other"))
    assert len(records(registry)) == 1
    assert in_progress(registry) == 0


def test_labels_are_constants_or_made_of_the_facts() -> None:
    registry = CollectorRegistry()
    facts: list[Any] = []

    def tenant(fact: Any) -> str:
        facts.append(fact)
        return fact.headers["x-tenant"]  # type: ignore[no-any-return]

    labels = {"zone": "north", "tenant": tenant}
    app = PrometheusMiddleware(hello, registry=registry, labels=labels)
    call(app, environ(path="/caf\xc3\xa9", HTTP_X_TENANT="acme"))
    wanted = {"zone": "north", "tenant": "acme", "status": "200"}
    assert value(collected(registry), "http_requests_total", wanted) == 1
    [fact] = facts
    assert (fact.method, fact.path, fact.route, fact.status) == (
        "GET",
        "/café",
        "<unmatched>",
        "200",
    )
    assert fact.request["REQUEST_METHOD"] == "GET"


def test_labels_are_told_the_path_at_the_door() -> None:
    """A dispatcher further in moves part of it to SCRIPT_NAME, in the same environ."""
    registry = CollectorRegistry()

    def dispatcher(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        shift_path_info(env)
        return hello(env, start)

    labels = {"path": lambda facts: facts.path}
    app = PrometheusMiddleware(dispatcher, registry=registry, labels=labels)
    call(app, environ(path="/caf\xc3\xa9/users/1", SCRIPT_NAME="/root"))
    samples = collected(registry)
    assert value(samples, "http_requests_total", {"path": "/café/users/1"}) == 1


def scraped(app: Any, method: str = "GET", path: str = "/metrics", **more: str) -> Exchange:
    exchange = call(app, environ(method, path, **more))
    assert exchange.error is None
    return exchange


@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
def test_metrics_path(path: str) -> None:
    app = PrometheusMiddleware(hello, registry=CollectorRegistry())
    call(app, environ())
    exchange = scraped(app, path=path)
    assert exchange.status == 200
    assert exchange.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert int(exchange.headers["content-length"]) == len(exchange.body)
    assert value(series(exchange.body.decode()), "http_requests_total") == 1


def test_metrics_path_head_and_405() -> None:
    app = PrometheusMiddleware(hello, registry=CollectorRegistry())
    head = scraped(app, "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    for method in ("POST", "OPTIONS", "get"):
        refused = scraped(app, method)
        assert refused.status == 405
        assert refused.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/"])
def test_c5_a_scrape_is_not_recorded(path: str) -> None:
    registry = CollectorRegistry()
    mounted = make_wsgi_app(registry) if path == "/" else hello
    app = PrometheusMiddleware(mounted, registry=registry)
    for _ in range(2):
        text = scraped(app, path=path).body.decode()
        assert value(series(text), "http_requests_total") == 0
        assert value(series(text), "http_requests_in_progress") == 0
    assert records(registry) == []


def test_metrics_path_none_leaves_the_path_to_the_application() -> None:
    registry = CollectorRegistry()
    app = PrometheusMiddleware(hello, registry=registry, metrics_path=None)
    assert scraped(app).body == b"hello"
    assert records(registry) == [("GET", "<unmatched>", 200, "", "complete")]


# PEP 3333 has the bytes of the path in the environ, each as one character.
NATIVE = "/m\u00c3\u00a9trics"


@pytest.mark.parametrize("path", [NATIVE, f"{NATIVE}/"])
def test_metrics_path_that_is_not_ascii(path: str) -> None:
    asked: list[Any] = []

    def access(request: Any) -> bool:
        asked.append((request.mount, request.path))
        return True

    options = {"registry": CollectorRegistry(), "metrics_path": "/métrics", "access": access}
    app = PrometheusMiddleware(hello, **options)  # type: ignore[arg-type]
    assert b"prom_middleware_workers" in scraped(app, path=path, SCRIPT_NAME="/\u00c3\u00a9").body
    assert asked == [("/é", path.replace(NATIVE, "/métrics"))]
    assert scraped(app, path="/m\u00e9trics").body == b"hello"


def test_metrics_path_of_one_s_own_is_below_script_name() -> None:
    registry = CollectorRegistry()
    app = PrometheusMiddleware(hello, registry=registry, metrics_path="/internal/prom")
    own = scraped(app, path="/internal/prom", SCRIPT_NAME="/x")
    assert b"prom_middleware_workers" in own.body
    assert scraped(app, path="/metrics").body == b"hello"
    assert scraped(app, path="/internal/promo").body == b"hello"


def test_access_decides_who_scrapes() -> None:
    app = PrometheusMiddleware(
        hello, registry=CollectorRegistry(), access=lambda request: request.client == "10.0.0.1"
    )
    assert scraped(app, REMOTE_ADDR="10.0.0.1").status == 200
    assert scraped(app, REMOTE_ADDR="10.0.0.2").status == 403


def strictly(app: Any, request: dict[str, Any], **drive: Any) -> Exchange:
    """Check the door from both sides: as a server for `app`, and as an application."""
    door = PrometheusMiddleware(validator(app), registry=CollectorRegistry())
    return call(validator(door), request, **drive)


def streams(env: dict[str, Any], start: Start) -> Iterator[bytes]:
    start("200 OK", [*PLAIN])
    yield b"hel"
    yield b"lo"


def writes(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [*PLAIN])(b"hello")
    return []


def echoes(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [*PLAIN])
    stream = env["wsgi.input"]
    return [stream.read(1), stream.readline(100), *stream.readlines(100), *list(stream)]


@pytest.mark.parametrize("app", [hello, streams, writes])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_validate_finds_nothing(app: Any, method: str) -> None:
    exchange = strictly(app, environ(method))
    assert exchange.error is None
    assert exchange.body == b"hello"


def test_validate_finds_nothing_in_the_input() -> None:
    exchange = strictly(echoes, environ("POST", body=BODY))
    assert exchange.error is None
    assert exchange.body == BODY


def test_validate_finds_nothing_in_a_scrape_and_in_an_abort() -> None:
    assert strictly(hello, environ(path="/metrics")).error is None
    assert strictly(streams, environ(), leave_after=1).error is None
