"""Below a door that does not call the application, as Twisted's: it is told what was raised."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from prometheus_client import CollectorRegistry

from injection import raising_once
from instrumentation.driver import core
from metrics import collected, in_progress, records, value
from prom_middleware import failures
from prom_middleware.instrumentation import COMPLETE, DISCONNECT, INCOMPLETE, Observation
from prom_middleware.wsgi import PrometheusMiddleware, watching
from wsgi_door.driver import Exchange, call, environ

Start = Callable[..., Any]
ERROR = ValueError("midway")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def below(registry: CollectorRegistry, **more: Any) -> tuple[Observation, dict[str, Any]]:
    """Return the observation of a door further out, and the environ of its request."""
    instrumentation = core(registry)
    outer = instrumentation.start({"route": "/outer"}, "GET")
    outer.status = "200"
    return outer, environ(**{instrumentation.key: outer, **more})


def answers(body: Any) -> Any:
    def app(env: dict[str, Any], start: Start) -> Any:
        start("200 OK", [])
        return body

    return app


class Pieces:
    """An iterator that breaks after one piece, or as it is closed."""

    def __init__(self, error: BaseException | None = None, late: BaseException | None = None):
        self.left, self.error, self.late = [b"one", b"two"], error, late
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self.left:
            raise StopIteration
        if len(self.left) == 1 and self.error is not None:
            raise self.error
        return self.left.pop(0)

    def close(self) -> None:
        self.closed += 1
        if self.late is not None:
            raise self.late


class Indexed:
    """What can be iterated since it has an item for each index from 0; it breaks at 1."""

    def __getitem__(self, index: int) -> bytes:
        if index:
            raise ERROR
        return b"one"


def raises(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    raise ERROR


@pytest.mark.parametrize(
    ("make", "body", "error"),
    [
        (lambda: raises, b"", ValueError),
        (lambda: answers(Pieces(ERROR)), b"one", ValueError),
        (lambda: answers(Indexed()), b"one", ValueError),
        (lambda: answers(Pieces(late=ERROR)), b"onetwo", ValueError),
        (lambda: answers(Pieces(SystemExit(3))), b"one", SystemExit),
        (lambda: answers(None), b"", TypeError),
    ],
    ids=["call", "iteration", "by-index", "close", "exit", "none"],
)
@pytest.mark.parametrize("doors", [1, 2])
def test_what_is_raised_is_told_and_goes_on(
    registry: CollectorRegistry, make: Any, body: bytes, error: Any, doors: int
) -> None:
    outer, request = below(registry)
    app = make()
    for _ in range(doors):
        app = PrometheusMiddleware(app, registry=registry)
    exchange = call(app, request)
    assert exchange.body == body
    assert type(exchange.error) is error
    assert in_progress(registry) == 1  # it is the outer door's to end
    outer.finish(INCOMPLETE)
    assert records(registry) == [("GET", "/outer", 200, error.__name__, "error")]
    assert value(collected(registry), "http_request_exceptions_total") == 1


ENDS = [
    (INCOMPLETE, 200, 3, "error"),  # the connection was cut off
    (COMPLETE, 500, 0, "error"),  # the server had nothing better to send
    (COMPLETE, 500, 9, "complete"),  # middleware between has answered with a page
    (COMPLETE, 302, 0, "complete"),  # or with something that has no body
    (DISCONNECT, 200, 3, "disconnect"),
]


@pytest.mark.parametrize(("end", "status", "sent", "outcome"), ENDS)
def test_the_outcome_is_what_became_of_the_response(
    registry: CollectorRegistry, end: str, status: int, sent: int, outcome: str
) -> None:
    outer, request = below(registry)
    call(PrometheusMiddleware(raises, registry=registry), request)
    outer.sent, outer.status = sent, str(status)
    outer.finish(end)
    assert records(registry) == [("GET", "/outer", status, "ValueError", outcome)]


@pytest.mark.parametrize("drive", [{}, {"leave_after": 1}, {"iterate": False}])
def test_close_is_forwarded_once(registry: CollectorRegistry, drive: dict[str, Any]) -> None:
    pieces = Pieces()
    outer, request = below(registry)
    exchange = call(PrometheusMiddleware(answers(pieces), registry=registry), request, **drive)
    exchange.close()  # a server at fault closes again
    assert exchange.error is None
    assert pieces.closed == 1
    outer.finish()
    assert records(registry) == [("GET", "/outer", 200, "", "complete")]


def test_a_body_that_is_asked_for_its_pieces_one_by_one(registry: CollectorRegistry) -> None:
    outer, request = below(registry)
    app = PrometheusMiddleware(answers(Pieces(ERROR)), registry=registry)
    body: Any = app(request, lambda *_: lambda _: None)
    assert next(body) == b"one"
    with pytest.raises(ValueError, match="midway"):
        next(body)
    outer.finish(INCOMPLETE)
    assert records(registry) == [("GET", "/outer", 200, "ValueError", "error")]


def wrap(file: Any) -> Any:
    return file


FILE = BytesIO(b"file")
AS_THEY_ARE = [
    ([b"one"], None),
    ((b"one",), None),
    (b"one", None),
    (object(), None),
    (FileWrapper(FILE), FileWrapper),
    (FILE, wrap),
]


@pytest.mark.parametrize(("body", "wrapper"), AS_THEY_ARE)
def test_what_a_server_knows_again_stays_itself(
    registry: CollectorRegistry, body: Any, wrapper: Any
) -> None:
    _, request = below(registry, **({"wsgi.file_wrapper": wrapper} if wrapper else {}))
    app = PrometheusMiddleware(answers(body), registry=registry)
    assert app(request, lambda *_: lambda _: None) is body


def test_a_file_that_is_wrapped_between_two_registries_stays_itself(
    registry: CollectorRegistry,
) -> None:
    def sends(env: dict[str, Any], start: Start) -> Any:
        start("200 OK", [])
        return env["wsgi.file_wrapper"](BytesIO(b"file"))

    outer, request = below(registry, **{"wsgi.file_wrapper": wrap})
    between = CollectorRegistry()
    app = PrometheusMiddleware(PrometheusMiddleware(sends, registry=registry), registry=between)
    exchange = call(app, request)
    assert (exchange.error, exchange.body) == (None, b"file")
    outer.finish()
    for one, route in ((registry, "/outer"), (between, "<unmatched>")):
        assert records(one) == [("GET", route, 200, "", "complete")]


def test_a_body_does_not_wait_for_the_garbage_collector(registry: CollectorRegistry) -> None:
    outer, request = below(registry)
    app = PrometheusMiddleware(answers(Pieces()), registry=registry)
    gc.disable()
    try:
        gone = weakref.ref(call(app, request).result)
        assert gone() is None
    finally:
        gc.enable()
    outer.finish()


FAILING = [
    watching.watching,
    watching.is_to_be_told,
    watching._may_break,
    watching._is_file,
    watching.Watched.__init__,
]


@pytest.mark.parametrize("function", FAILING, ids=lambda function: function.__qualname__)
def test_whatever_fails_the_response_goes_out(registry: CollectorRegistry, function: Any) -> None:
    def once() -> Exchange:
        return call(PrometheusMiddleware(answers(Pieces(ERROR)), registry=registry), request)

    outer, request = below(registry)
    bare, failed = call(answers(Pieces(ERROR)), environ()), sum(failures.counts().values())
    with raising_once(function.__code__) as reached:
        exchange = once()
    assert reached
    assert (exchange.body, exchange.error) == (bare.body, bare.error)
    assert sum(failures.counts().values()) == failed + 1
    outer.finish()
    assert in_progress(registry) == 0
