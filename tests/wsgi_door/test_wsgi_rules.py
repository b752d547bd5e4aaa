"""The agreed rows for WSGI, and others that the same rules imply."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any, NamedTuple
from wsgiref.util import FileWrapper

import pytest
from prometheus_client import CollectorRegistry

from metrics import collected, in_progress, records, value
from prom_middleware.wsgi import PrometheusMiddleware
from wsgi_door.driver import call, environ

Start = Callable[..., Any]
OK = "200 OK"
PLAIN = (("Content-Type", "text/plain"),)


class Pieces:
    """An iterable with a `close()`, that counts how often it was closed."""

    def __init__(self, *pieces: bytes, close_error: BaseException | None = None) -> None:
        self.pieces = pieces
        self.closed = 0
        self.close_error = close_error

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.pieces)

    def close(self) -> None:
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error


def listed(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start(OK, [*PLAIN])
    return [b"abc"]


def empty(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("204 No Content", [])
    return []


def lazy(env: dict[str, Any], start: Start) -> Iterator[bytes]:
    start("201 Created", [*PLAIN])
    yield b"one"
    yield b"two"


def breaks_midway(env: dict[str, Any], start: Start) -> Iterator[bytes]:
    start(OK, [*PLAIN])
    yield b"one"
    raise ValueError("midway")


def breaks_first(env: dict[str, Any], start: Start) -> Iterator[bytes]:
    start(OK, [*PLAIN])
    raise ValueError("first")
    yield b""


def breaks_after_nothing(env: dict[str, Any], start: Start) -> Iterator[bytes]:
    start(OK, [*PLAIN])
    yield b""
    raise ValueError("the headers were not sent yet")


def breaks_unstarted(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    raise KeyError("before")


def breaks_started(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start(OK, [*PLAIN])
    raise KeyError("after")


def writes(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start(OK, [*PLAIN])(b"abc")
    return []


def writes_and_returns(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start(OK, [*PLAIN])(b"abc")
    return [b"de"]


def writes_then_breaks(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start(OK, [*PLAIN])(b"abc")
    raise ValueError("written")


def writes_nothing_then_breaks(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start(OK, [*PLAIN])(b"")
    raise ValueError("written")


def writes_then_breaks_midway(env: dict[str, Any], start: Start) -> Iterator[bytes]:
    write = start(OK, [*PLAIN])
    write(b"abc")

    def pieces() -> Iterator[bytes]:
        raise ValueError("in the iterable")
        yield b""

    return pieces()


def starts_twice(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start(OK, [*PLAIN])
    start("201 Created", [*PLAIN])
    return [b"abc"]


def replaces_start(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start(OK, [*PLAIN])
    try:
        raise ValueError("mended")
    except ValueError:
        start("503 Service Unavailable", [*PLAIN], sys.exc_info())
    return [b"sorry"]


def replaces_by_keyword(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start(status=OK, headers=[*PLAIN])
    try:
        raise ValueError("mended")
    except ValueError:
        start("503 Service Unavailable", [*PLAIN], exc_info=sys.exc_info())
    return [b"sorry"]


def replaces_too_late(env: dict[str, Any], start: Start) -> Iterator[bytes]:
    start(OK, [*PLAIN])
    yield b"out"
    try:
        raise ValueError("too late")
    except ValueError:
        start("503 Service Unavailable", [*PLAIN], sys.exc_info())
    yield b"sorry"


def closable(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start(OK, [*PLAIN])
    return env["test.pieces"]  # type: ignore[no-any-return]


def exits(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start(OK, [*PLAIN])
    raise SystemExit(3)


def nothing(env: dict[str, Any], start: Start) -> Any:
    start(OK, [*PLAIN])


def unusual(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("799 Odd", [*PLAIN])
    return (b"a", b"b")


def never_starts(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    return []


def forgets(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    return [b"hello"]


def forgets_lazily(env: dict[str, Any], start: Start) -> Iterator[bytes]:
    yield b"hello"
    yield b"more"


def forgets_a_file(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    return FileWrapper(BytesIO(b"hello"))


def promised(env: dict[str, Any], start: Start) -> Iterator[bytes]:
    start(OK, [*PLAIN, ("Content-Length", "3")])
    yield b"abc"
    yield b""


def promised_anew(env: dict[str, Any], start: Start) -> Iterator[bytes]:
    start(OK, [*PLAIN])
    try:
        raise ValueError
    except ValueError:
        start(OK, [*PLAIN, ("Content-Length", "3")], sys.exc_info())
    yield b"abc"
    yield b""


def misled(env: dict[str, Any], start: Start) -> Iterator[bytes]:
    start(OK, [*PLAIN, ("content-length", "three")])
    yield b"one"
    yield b"two"


def superscript(env: dict[str, Any], start: Start) -> Iterator[bytes]:
    start(OK, [*PLAIN, ("content-length", "\N{SUPERSCRIPT TWO}")])
    yield b"one"
    yield b"two"


class Row(NamedTuple):
    app: Any
    record: tuple[str, str, int, str, str]
    method: str = "GET"
    path: str = "/"
    drive: dict[str, Any] = {}
    body: bytes | None = None


def seen(status: int, exception: str = "", outcome: str = "complete", method: str = "GET") -> Any:
    return method, "<unmatched>", status, exception, outcome


UNREAD = {"iterate": False}
GONE = {"leave_after": 1}
ROWS = {
    "W01": Row(listed, seen(200), body=b"abc"),
    "W02": Row(listed, seen(200, method="HEAD"), "HEAD"),
    "W03": Row(listed, seen(200, method="_OTHER"), "FOO"),
    "W03-lower-case": Row(listed, seen(200, method="_OTHER"), "get"),
    "W03-query": Row(listed, seen(200, method="QUERY"), "QUERY"),
    "W04": Row(lazy, seen(201), body=b"onetwo"),
    "W05": Row(lazy, seen(201, "", "disconnect"), drive=GONE, body=b"one"),
    "W06": Row(breaks_midway, seen(200, "ValueError", "error"), body=b"one"),
    "W07": Row(breaks_first, seen(500, "ValueError", "error"), body=b""),
    "W08-empty-piece": Row(breaks_after_nothing, seen(500, "ValueError", "error"), body=b""),
    "W09": Row(breaks_unstarted, seen(500, "KeyError", "error")),
    "W10": Row(breaks_started, seen(500, "KeyError", "error")),
    "W11": Row(writes, seen(200), body=b"abc"),
    "W12": Row(writes_then_breaks, seen(200, "ValueError", "error"), body=b"abc"),
    "W12-write-of-nothing": Row(
        writes_nothing_then_breaks, seen(200, "ValueError", "error"), body=b""
    ),
    "W13-write-and-list": Row(writes_and_returns, seen(200), body=b"abcde"),
    "W13-write-and-iterable": Row(writes_then_breaks_midway, seen(200, "ValueError", "error")),
    "W14": Row(starts_twice, seen(500, "AssertionError", "error")),
    "W15-exc-info": Row(replaces_start, seen(503), body=b"sorry"),
    "W15-by-keyword": Row(replaces_by_keyword, seen(503), body=b"sorry"),
    "W15-too-late": Row(replaces_too_late, seen(200, "ValueError", "error"), body=b"out"),
    "W18": Row(lazy, seen(500), drive=UNREAD),
    "W19": Row(listed, seen(200, method="HEAD"), "HEAD", drive=UNREAD),
    "W20-head-iterated-once": Row(promised, seen(200, method="HEAD"), "HEAD", drive=GONE),
    "W21": Row(exits, seen(500, "SystemExit", "error")),
    "W22": Row(empty, seen(204), body=b""),
    "W23": Row(listed, seen(200), path="/\xff\xfe", body=b"abc"),
    "W24": Row(listed, seen(200), path="/" + "a" * 65536, body=b"abc"),
    "W25": Row(nothing, seen(500, "TypeError", "error")),
    "W26-never-started": Row(never_starts, seen(500)),
    "W26-body-never-started": Row(forgets, seen(500), body=b""),
    "W26-generator-never-started": Row(forgets_lazily, seen(500), body=b""),
    "W26-file-never-started": Row(forgets_a_file, seen(500), body=b""),
    "unusual-status": Row(unusual, seen(799), body=b"ab"),
    "length-reached": Row(promised, seen(200), drive=GONE, body=b"abc"),
    "length-of-a-second-start": Row(promised_anew, seen(200), drive=GONE, body=b"abc"),
    "length-of-no-number": Row(superscript, seen(200, "", "disconnect"), drive=GONE, body=b"one"),
    "malformed-length": Row(misled, seen(200, "", "disconnect"), drive=GONE, body=b"one"),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_row(row: Row) -> None:
    registry = CollectorRegistry()
    app = PrometheusMiddleware(row.app, registry=registry)
    more = {"wsgi.file_wrapper": FileWrapper}
    bare = call(row.app, environ(row.method, row.path, **more), **row.drive)
    exchange = call(app, environ(row.method, row.path, **more), **row.drive)
    assert records(registry) == [row.record]
    sent = 0 if row.method == "HEAD" else len(exchange.body)
    assert value(collected(registry), "http_response_body_bytes_total") == sent
    assert in_progress(registry) == 0
    assert exchange.body == bare.body
    assert exchange.begun == bare.begun
    assert type(exchange.error) is type(bare.error)
    if row.body is not None:
        assert exchange.body == row.body


CLOSES: dict[str, tuple[dict[str, Any], BaseException | None, tuple[int, str, str]]] = {
    "W16": ({}, None, (200, "", "complete")),
    "W16-gone": (GONE, None, (200, "", "disconnect")),
    "W16-unread": (UNREAD, None, (200, "", "complete")),
    "W17-close-raises": ({}, OSError("close"), (200, "OSError", "complete")),
    "W17-close-raises-unread": (UNREAD, OSError("close"), (500, "OSError", "error")),
}


@pytest.mark.parametrize(("drive", "error", "expected"), CLOSES.values(), ids=CLOSES.keys())
def test_close_is_forwarded_once(
    drive: dict[str, Any], error: BaseException | None, expected: tuple[int, str, str]
) -> None:
    registry = CollectorRegistry()
    pieces = Pieces(b"a", b"b", close_error=error)
    app = PrometheusMiddleware(closable, registry=registry)
    exchange = call(app, environ(**{"test.pieces": pieces}), **drive)
    if error is None:
        exchange.close()  # a server at fault closes again
    assert pieces.closed == 1
    assert exchange.error is error
    assert records(registry) == [seen(*expected)]
    assert in_progress(registry) == 0


@pytest.mark.parametrize("written", [True, False])
def test_w14_a_lenient_server_keeps_the_first_start_that_was_sent(written: bool) -> None:
    """As gevent's and granian do: the second one changes what has not been sent."""
    registry = CollectorRegistry()

    def app(env: dict[str, Any], start: Start) -> Iterator[bytes]:
        start(OK, [*PLAIN, ("Content-Length", "4")])
        if written:
            yield b"ab"
        start("503 Service Unavailable", [*PLAIN, ("Content-Length", "2")])
        yield b"cd"

    door = PrometheusMiddleware(app, registry=registry)
    body: Any = door(environ(), lambda *_: None)
    pieces = b"".join(body)
    body.close()
    assert pieces == (b"abcd" if written else b"cd")
    assert records(registry) == [seen(200 if written else 503)]


@pytest.mark.parametrize("writer", [None, [].append])
def test_a_server_without_a_write_has_none(writer: Any) -> None:
    got: list[Any] = []

    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        got.append(start(OK, [*PLAIN]))
        return []

    PrometheusMiddleware(app, registry=CollectorRegistry())(environ(), lambda *_: writer)
    assert (got[0] is None) == (writer is None)


def test_w27_thirty_two_threads_count_exactly() -> None:
    """C8 as well."""
    registry = CollectorRegistry()
    app = PrometheusMiddleware(listed, registry=registry)

    def work() -> None:
        for _ in range(200):
            call(app, environ())

    threads = [threading.Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    samples = collected(registry)
    assert value(samples, "http_requests_total") == 6400
    assert value(samples, "http_response_body_bytes_total") == 6400 * 3
    assert in_progress(registry) == 0


def test_w28_two_doors_on_one_registry_record_once() -> None:
    registry = CollectorRegistry()
    app = PrometheusMiddleware(PrometheusMiddleware(listed, registry=registry), registry=registry)
    assert call(app, environ()).body == b"abc"
    assert records(registry) == [seen(200)]
    assert in_progress(registry) == 0


def test_two_doors_record_once_where_a_middleware_between_copies_the_environ() -> None:
    registry = CollectorRegistry()
    inner = PrometheusMiddleware(listed, registry=registry)
    app = PrometheusMiddleware(lambda env, start: inner(dict(env), start), registry=registry)
    call(app, environ())
    assert records(registry) == [seen(200)]


def test_c6_two_registries_count_once_each() -> None:
    registries = CollectorRegistry(), CollectorRegistry()
    app: Any = breaks_midway
    for registry in registries:
        app = PrometheusMiddleware(app, registry=registry)
    exchange = call(app, environ())
    assert isinstance(exchange.error, ValueError)
    for registry in registries:
        assert records(registry) == [seen(200, "ValueError", "error")]


def test_a_request_inside_a_request_is_one_more() -> None:
    registry = CollectorRegistry()
    other = PrometheusMiddleware(listed, registry=registry)

    def asks_other(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        body = call(other, environ(path="/other")).body
        start(OK, [*PLAIN])
        return [body]

    app = PrometheusMiddleware(asks_other, registry=registry)
    assert call(app, environ()).body == b"abc"
    assert records(registry) == [seen(200)] * 2


def test_an_environ_used_again_is_another_request() -> None:
    registry = CollectorRegistry()
    app = PrometheusMiddleware(listed, registry=registry)
    request = environ()
    call(app, request)
    call(app, request)
    assert records(registry) == [seen(200)] * 2


@pytest.mark.parametrize("own", [{}, {"method": "of its own"}])
def test_an_environ_that_is_copied_for_another_method_and_path_is_another_request(
    own: dict[str, Any],
) -> None:
    registry = CollectorRegistry()

    def batch(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        if env["PATH_INFO"] == "/batch":
            call(app, {**env, "REQUEST_METHOD": "POST", "PATH_INFO": "/items"})
        start(OK, [*PLAIN])
        return [b"abc"]

    app = PrometheusMiddleware(batch, registry=registry)
    call(app, {**environ(path="/batch"), **own})
    assert sorted(row[0] for row in records(registry)) == ["GET", "POST"]


def test_in_progress_lasts_as_long_as_the_body() -> None:
    registry = CollectorRegistry()
    app = PrometheusMiddleware(lazy, registry=registry)
    during: list[float] = []
    call(app, environ(), on_piece=lambda: during.append(in_progress(registry)))
    assert during == [1, 1]
    assert in_progress(registry) == 0


def test_a_client_that_is_gone_makes_write_raise() -> None:
    registry = CollectorRegistry()

    def writes_on(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        write = start(OK, [*PLAIN])
        write(b"one")
        write(b"two")
        return []

    def gone() -> None:
        if len(sent) == 1:
            raise BrokenPipeError("the client is gone")
        sent.append(1)

    sent: list[int] = []
    exchange = call(PrometheusMiddleware(writes_on, registry=registry), environ(), on_piece=gone)
    assert isinstance(exchange.error, BrokenPipeError)
    assert records(registry) == [seen(200, "BrokenPipeError", "disconnect")]


def test_a_body_that_is_never_closed_is_recorded_when_it_is_dropped() -> None:
    registry = CollectorRegistry()
    app = PrometheusMiddleware(lazy, registry=registry)
    body = iter(app(environ(), lambda *_: lambda _: None))
    assert next(body) == b"one"
    assert in_progress(registry) == 1
    del body
    gc.collect()  # the application's generator holds our `start_response`
    assert records(registry) == [seen(201, "", "disconnect")]
    assert in_progress(registry) == 0
