"""What went wrong once on the WSGI door, or nearly did, each with the smallest case."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from copy import copy
from threading import Thread
from time import sleep
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from prometheus_client import CollectorRegistry

from metrics import collected, in_progress, records, value
from prom_middleware.instrumentation import nesting
from prom_middleware.stores import turn
from prom_middleware.stores.multiprocess import MultiprocessStore
from prom_middleware.wsgi import PrometheusMiddleware
from stores.multiprocess.children import run
from wsgi_door.driver import answers, call, environ, ignore, seen, sent

Start = Callable[..., Any]
Headers = list[tuple[str, str]]
BYTES = b"0123456789"
PLAIN = (("Content-Type", "text/plain"),)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


# The server's own file wrapper, which it may send by sendfile.


class File(io.BytesIO):
    """A file that counts how often it was closed."""

    closings = 0

    def close(self) -> None:
        self.closings += 1
        super().close()


class Wrapper:
    """A server's file wrapper that nothing can be set on, as those made in C."""

    __slots__ = ("filelike",)

    def __init__(self, filelike: Any, block_size: int = 8192) -> None:
        self.filelike = filelike

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.filelike.read(8192), b"")

    def close(self) -> None:
        self.filelike.close()


def sends_file(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [*PLAIN])
    env["test.body"] = body = env["wsgi.file_wrapper"](env["test.file"])
    return body  # type: ignore[no-any-return]


def file_request(wrapper: Any, method: str = "GET") -> tuple[File, dict[str, Any]]:
    file = File(BYTES)
    return file, environ(method, **{"wsgi.file_wrapper": wrapper, "test.file": file})


@pytest.mark.parametrize("drive", [{}, {"iterate": False}], ids=["iterated", "sendfile"])
def test_a_file_wrapper_s_body_stays_itself_and_is_closed_once(
    registry: CollectorRegistry, drive: dict[str, Any]
) -> None:
    file, request = file_request(FileWrapper)
    exchange = call(PrometheusMiddleware(sends_file, registry=registry), request, **drive)
    assert exchange.result is request["test.body"]
    assert type(exchange.result) is FileWrapper
    assert file.closings == 1
    assert records(registry) == seen(200)
    assert in_progress(registry) == 0


def test_a_file_is_counted_when_it_is_closed(registry: CollectorRegistry) -> None:
    _, request = file_request(FileWrapper)
    body: Any = PrometheusMiddleware(sends_file, registry=registry)(request, ignore)
    assert list(body) == [BYTES]
    assert (in_progress(registry), sent(registry)) == (1, 0)
    body.close()
    assert (in_progress(registry), sent(registry)) == (0, len(BYTES))


def test_a_file_wrapper_that_nothing_can_be_set_on_is_served(registry: CollectorRegistry) -> None:
    file, request = file_request(Wrapper)
    exchange = call(PrometheusMiddleware(sends_file, registry=registry), request)
    assert exchange.error is None
    assert exchange.result is request["test.body"]
    assert exchange.body == BYTES
    assert file.closings == 1
    assert records(registry) == seen(200)
    assert in_progress(registry) == 0


def test_no_bytes_of_a_head_are_counted(registry: CollectorRegistry) -> None:
    def writes(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [*PLAIN])(BYTES)
        return [BYTES]

    def streams(env: dict[str, Any], start: Start) -> Iterator[bytes]:
        start("200 OK", [*PLAIN])
        yield from (BYTES, BYTES)

    for app in (writes, streams, sends_file):
        _, request = file_request(FileWrapper, "HEAD")
        call(PrometheusMiddleware(app, registry=registry), request)
    assert records(registry) == seen(200, method="HEAD") * 3
    assert sent(registry) == 0


# Bodies that break, or that nobody closes.


class Pieces:
    """An iterable that raises after one piece, and counts how often it was closed."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield BYTES
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("error", [ValueError(), OSError(), SystemExit(3), KeyboardInterrupt()])
def test_a_body_that_breaks_is_an_error_and_closed_once(
    registry: CollectorRegistry, error: BaseException
) -> None:
    pieces = Pieces(error)
    exchange = call(PrometheusMiddleware(answers(pieces), registry=registry), environ())
    exchange.close()  # a server at fault closes again
    assert exchange.error is error
    assert exchange.body == BYTES
    assert pieces.closed == 1
    assert records(registry) == seen(200, type(error).__name__, "error")
    assert in_progress(registry) == 0


@pytest.mark.parametrize(
    ("drive", "error", "outcome"),
    [({}, None, "complete"), ({"leave_after": 1}, None, "disconnect"), ({}, ValueError(), "error")],
    ids=["exhausted", "left", "broken"],
)
def test_a_generator_is_cleaned_up_once(
    registry: CollectorRegistry, drive: dict[str, Any], error: Any, outcome: str
) -> None:
    cleaned: list[float] = []

    def app(env: dict[str, Any], start: Start) -> Iterator[bytes]:
        start("200 OK", [*PLAIN])
        try:
            yield from Pieces(error)
            yield b""
        finally:
            cleaned.append(in_progress(registry))

    exchange = call(PrometheusMiddleware(app, registry=registry), environ(), **drive)
    exchange.close()  # a server at fault closes again
    assert exchange.error is error
    assert cleaned == [1]  # the response lasts as long as the application does
    assert [record[4] for record in records(registry)] == [outcome]
    assert in_progress(registry) == 0


@pytest.mark.parametrize("body", [[BYTES], (BYTES,), iter([BYTES])], ids=["list", "tuple", "iter"])
def test_a_body_that_is_dropped_unread_is_recorded(registry: CollectorRegistry, body: Any) -> None:
    app = PrometheusMiddleware(answers(body), registry=registry)
    given = app(environ(), ignore)
    assert in_progress(registry) == 1
    del given
    gc.collect()
    assert records(registry) == seen(200)
    assert in_progress(registry) == 0


def test_a_body_that_is_dropped_in_a_cycle_is_recorded_by_the_collector(
    registry: CollectorRegistry,
) -> None:
    app = PrometheusMiddleware(answers(Pieces()), registry=registry)
    response: dict[str, Any] = {"body": iter(app(environ(), ignore))}
    response["itself"] = response
    assert next(response["body"]) == BYTES
    del response
    gc.collect()
    assert records(registry) == seen(200, "", "disconnect")
    assert in_progress(registry) == 0


def test_a_file_wrapper_s_body_that_is_dropped_is_recorded(registry: CollectorRegistry) -> None:
    _, request = file_request(FileWrapper)
    given = PrometheusMiddleware(sends_file, registry=registry)(request, ignore)
    request.clear()
    del given
    gc.collect()
    assert len(records(registry)) == 1
    assert in_progress(registry) == 0


def test_who_stops_at_the_length_and_closes_nothing(registry: CollectorRegistry) -> None:
    """As asgiref's adapter."""

    def app(env: dict[str, Any], start: Start) -> Iterator[bytes]:
        start("200 OK", [("Content-Length", "3")])
        yield b"abc"
        yield b""

    body = PrometheusMiddleware(app, registry=registry)(environ(), ignore)
    pieces = iter(body)
    assert next(pieces) == b"abc"
    pieces.close()  # type: ignore[attr-defined]
    assert records(registry) == seen(200)
    assert in_progress(registry) == 0


@pytest.mark.parametrize("written", [False, True], ids=["iterated", "written"])
def test_a_start_after_the_first_byte_changes_nothing(
    registry: CollectorRegistry, written: bool
) -> None:
    """PEP 3333 has the server raise; one that does not has sent the headers all the same."""

    def app(env: dict[str, Any], start: Start) -> Iterator[bytes]:
        write = start("200 OK", [])
        if written:
            write(b"")  # the headers alone
        else:
            yield b"a"
        try:
            raise ValueError
        except ValueError:
            start("500 Internal Server Error", [], sys.exc_info())
        yield b"b"

    body: Any = PrometheusMiddleware(app, registry=registry)(environ(), ignore)
    assert b"".join(body) == (b"b" if written else b"ab")
    body.close()
    assert records(registry) == seen(200)
    assert sent(registry) == 1 + (not written)


# Of what is not to be sent in answer to HEAD, the client has all.
@pytest.mark.parametrize(("method", "outcome"), [("GET", "disconnect"), ("HEAD", "complete")])
@pytest.mark.parametrize("length", [[], [("Content-Length", "3")]], ids=["no-length", "length"])
@pytest.mark.parametrize("body", [[b"abc"], (b"abc",), iter([b"abc"])], ids=["list", "tuple", "it"])
def test_the_last_piece_is_not_sent_either(
    registry: CollectorRegistry,
    body: Iterable[bytes],
    length: Headers,
    method: str,
    outcome: str,
) -> None:
    """The server closes the body with what its socket raised: that it is whole tells nothing."""

    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [*length])
        return copy(body)

    def broken() -> None:
        raise BrokenPipeError

    door = PrometheusMiddleware(app, registry=registry)
    assert isinstance(call(door, environ(method), on_piece=broken).error, BrokenPipeError)
    assert records(registry) == seen(200, outcome=outcome, method=method)
    assert in_progress(registry) == 0


def test_nor_by_a_server_that_takes_one_piece_after_the_other(registry: CollectorRegistry) -> None:
    """Nothing tells the body then that nobody goes on with it, before its close."""

    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [("Content-Length", "3")])
        return iter([b"abc", b""])

    body: Any = PrometheusMiddleware(app, registry=registry)(environ(), ignore)
    assert next(body) == b"abc"
    try:
        raise BrokenPipeError
    except BrokenPipeError:
        body.close()
    assert records(registry) == seen(200, outcome="disconnect")


@pytest.mark.parametrize("again", [False, True])
def test_who_closes_what_was_cut_at_its_length_has_it_all(
    registry: CollectorRegistry, again: bool
) -> None:
    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [("Content-Length", "3")])
        return iter([b"abc", b""])

    body: Any = PrometheusMiddleware(app, registry=registry)(environ(), ignore)
    for _ in body:
        break
    body.close()
    if again:  # by somebody who has nothing to do with it
        try:
            raise OSError
        except OSError:
            body.close()
    assert records(registry) == seen(200)


@pytest.mark.parametrize("more", [[], [b"cd"]])
def test_who_makes_light_of_a_write_that_broke_has_not_sent_all(
    registry: CollectorRegistry, more: list[bytes]
) -> None:
    """As CGI does."""

    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        write = start("200 OK", [("Content-Length", "4")])
        with suppress(OSError):
            write(b"ab")
            write(b"cd")
        return more

    taken: list[bytes] = []

    def write(data: bytes) -> None:
        if taken:
            raise BrokenPipeError
        taken.append(data)

    list(PrometheusMiddleware(app, registry=registry)(environ(), lambda *_: write))
    assert records(registry) == seen(200, "", "disconnect")
    assert (sent(registry), in_progress(registry)) == (2, 0)


def test_who_makes_light_of_a_first_write_that_broke_has_answered_nobody(
    registry: CollectorRegistry,
) -> None:
    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        write = start("200 OK", [])
        with suppress(OSError):
            write(b"ab")
        return []

    def write(data: bytes) -> None:
        raise BrokenPipeError

    list(PrometheusMiddleware(app, registry=registry)(environ(), lambda *_: write))
    assert records(registry) == seen(499, "", "disconnect")
    assert (sent(registry), in_progress(registry)) == (0, 0)


@pytest.mark.parametrize(("piece", "number"), [(b"", 0), (b"one", 1)])
def test_a_worker_that_dies_after_an_empty_piece_has_answered_nobody(
    shared: MultiprocessStore, registry: CollectorRegistry, piece: bytes, number: int
) -> None:
    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        yield piece
        os.kill(os.getpid(), signal.SIGKILL)

    door = PrometheusMiddleware(app, registry=registry)
    assert run(lambda: call(door, environ())) == -signal.SIGKILL
    assert value(collected(registry), "http_requests_total") == number


@pytest.mark.parametrize("body", [list, iter], ids=["list", "iterator"])
def test_a_worker_that_dies_once_an_empty_body_has_ended_has_answered(
    shared: MultiprocessStore,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    body: Callable[[Any], Any],
) -> None:
    """Another thread may have the store at that moment: what waits for it is lost."""
    monkeypatch.setattr(turn, "PATIENCE", 30_000)  # milliseconds
    door = PrometheusMiddleware(answers(body(())), registry=registry)
    call(PrometheusMiddleware(answers([]), registry=registry), environ())

    def serve() -> None:
        give = shared.turn.tokens.pop()

        def gives_it_back() -> None:
            while not shared.turn.pending:
                sleep(0.001)
            give(give)

        Thread(target=gives_it_back, daemon=True).start()
        call(door, environ())
        os.kill(os.getpid(), signal.SIGKILL)

    assert run(serve) == -signal.SIGKILL
    assert value(collected(registry), "http_requests_total") == 2


# What is no iterable of bytes goes back as it is: the server knows it, or raises without us, too.


def test_the_sentinel_of_a_server_reaches_it(registry: CollectorRegistry) -> None:
    """Gunicorn's async workers compare with it: the application has answered on the socket."""
    handled = object()
    door = PrometheusMiddleware(lambda *_: handled, registry=registry)
    assert door(environ(), ignore) is handled
    assert records(registry) == []
    assert PrometheusMiddleware(answers(handled), registry=registry)(environ(), ignore) is handled
    assert records(registry) == seen(200)
    assert in_progress(registry) == 0


@pytest.mark.parametrize("body", [5, None])
def test_what_cannot_be_iterated_is_the_server_s_error(
    registry: CollectorRegistry, body: Any
) -> None:
    """Granian asks for an iterator before it sends the status, and answers 500 without one."""
    exchange = call(PrometheusMiddleware(answers(body), registry=registry), environ())
    assert exchange.result == body
    assert isinstance(exchange.error, TypeError)
    assert records(registry) == seen(500, "TypeError", "error")


@pytest.mark.parametrize(
    ("more", "expected", "number"),
    [
        ({"uwsgi.version": b"2.0.31"}, seen(200), len(BYTES)),
        ({}, seen(500, "TypeError", "error"), 0),
    ],
    ids=["uwsgi", "others"],
)
def test_bytes_are_for_the_server_to_judge(
    registry: CollectorRegistry, more: dict[str, Any], expected: Any, number: int
) -> None:
    """UWSGI sends them in one piece; others iterate them, and find integers."""
    env = environ(**more)
    assert PrometheusMiddleware(answers(BYTES), registry=registry)(env, ignore) is BYTES
    assert (records(registry), sent(registry)) == (expected, number)


def test_no_bytes_at_all_are_an_empty_body(registry: CollectorRegistry) -> None:
    PrometheusMiddleware(answers(b""), registry=registry)(environ(), ignore)
    assert records(registry) == seen(200)


@pytest.mark.parametrize(
    ("told", "status"),
    [("200", "200"), ("200\tOK", "200"), ("799 Odd", "799")]
    + [(told, "_OTHER") for told in ("1000 X", "2000", "20 X", "", "OK", "0200 X", "9" * 5000)],
)
def test_statuses_that_are_none(registry: CollectorRegistry, told: str, status: str) -> None:
    def odd(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start(told, [])
        return []

    list(PrometheusMiddleware(odd, registry=registry)(environ(), ignore))
    gc.collect()
    assert value(collected(registry), "http_requests_total", {"status": status}) == 1


@pytest.mark.parametrize("length", ["9" * 5000, "x", "", "-1", "\N{SUPERSCRIPT TWO}", 2, None])
def test_a_malformed_length_is_harmless(registry: CollectorRegistry, length: Any) -> None:
    def odd(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [("Content-Length", length)])
        return iter([b"one", b"two"])

    body: Any = PrometheusMiddleware(odd, registry=registry)(environ(), ignore)
    assert next(iter(body)) == b"one"
    body.close()
    assert (records(registry), sent(registry)) == (seen(200, outcome="disconnect"), 3)


class Indexed:
    """An iterable by the old protocol, as gunicorn's file wrapper was."""

    def __getitem__(self, index: int) -> bytes:
        return [b"one", b"two"][index]


def test_a_body_without_iter(registry: CollectorRegistry) -> None:
    exchange = call(PrometheusMiddleware(answers(Indexed()), registry=registry), environ())
    assert exchange.body == b"onetwo"
    assert (records(registry), sent(registry)) == (seen(200), 6)


@pytest.mark.parametrize("announced", [False, True])
def test_a_line_that_is_no_request(
    registry: CollectorRegistry, announced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What uWSGI makes of one has no method."""
    monkeypatch.setattr(nesting, "outer_doors", announced)
    asked = environ()
    del asked["REQUEST_METHOD"]
    app = PrometheusMiddleware(answers([b"ok"]), registry=registry)
    assert call(app, asked).body == b"ok"
    assert records(registry) == [("_OTHER", "<unmatched>", 200, "", "complete")]
    assert in_progress(registry) == 0
