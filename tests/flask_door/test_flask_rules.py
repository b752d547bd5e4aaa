"""The agreed rows for Flask, and others that the same rules imply."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from prometheus_client import CollectorRegistry

from metrics import collected, in_progress, records, value
from wsgi_door.driver import call, environ

flask = pytest.importorskip("flask", reason="Flask is not installed")

from flask import Blueprint, Flask, Response, abort, request  # noqa: E402

from prom_middleware.flask import Prometheus  # noqa: E402


def build(**options: Any) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.logger.disabled = True
    add_routes(app)
    add_failures(app)
    app.register_blueprint(nested(), url_prefix="/bp")
    Prometheus(app, **options)
    return app


def add_routes(app: Flask) -> None:
    app.add_url_rule("/", "root", lambda: "root")
    app.add_url_rule("/u/<int:id>", "user", user, methods=["GET", "POST"])
    app.add_url_rule("/slash/", "slash", lambda: "slash")
    app.add_url_rule("/st", "stream", lambda: Response(iter(["a", "b"])))
    app.add_url_rule("/gone", "gone", lambda: Response(pieces()))
    app.add_url_rule("/events", "events", events)
    app.add_url_rule("/slow", "slow", lambda: Response(slow_pieces()))
    app.add_url_rule("/files/<path:name>", "files", lambda name: name)
    app.add_url_rule("/either/<any(a, b):kind>", "either", lambda kind: kind)


def add_failures(app: Flask) -> None:
    app.add_url_rule("/boom", "boom", boom)
    app.add_url_rule("/handled", "handled", handled)
    app.add_url_rule("/sboom", "sboom", lambda: Response(breaking_pieces()))
    app.add_url_rule("/sboom-first", "sboom_first", lambda: Response(breaking_first()))
    app.add_url_rule("/ab", "ab", lambda: abort(418))
    app.add_url_rule("/exit", "exit", leave)
    app.register_error_handler(OverflowError, lambda error: ("handled", 503))
    app.before_request(deny)
    app.teardown_request(tear_down)


def nested() -> Blueprint:
    inner, outer = Blueprint("inner", __name__), Blueprint("outer", __name__)
    inner.add_url_rule("/y/<path:p>", "y", lambda t, p: p)
    outer.register_blueprint(inner, url_prefix="/in/<t>")
    return outer


def user(id: int) -> str:  # noqa: A002
    return f"{id} {len(request.get_data())}"


def pieces() -> Iterator[bytes]:
    while True:
        yield b"x"


def slow_pieces() -> Iterator[bytes]:
    yield b"soon"
    time.sleep(0.05)
    yield b"late"


def breaking_pieces() -> Iterator[bytes]:
    yield b"one"
    raise KeyError("midway")


def breaking_first() -> Iterator[bytes]:
    raise KeyError("first")
    yield b""


def events() -> Response:
    return Response(iter(["data: 1\n\n"]), mimetype="text/event-stream")


def boom() -> str:
    raise ValueError("boom")


def handled() -> str:
    raise OverflowError("handled")


def leave() -> str:
    raise SystemExit(3)


def deny() -> Any:
    if "before" in request.args:
        raise LookupError("before_request")
    return ("denied", 401) if "deny" in request.args else None


def tear_down(error: BaseException | None) -> None:
    if "tdboom" in request.args:
        raise RuntimeError("teardown")


class Row(NamedTuple):
    method: str
    path: str
    route: str
    status: int
    exception: str = ""
    outcome: str = "complete"
    drive: dict[str, Any] = {}
    config: dict[str, Any] = {}


USER = "/u/<int:id>"
NONE = "<unmatched>"
BREAK = ("ValueError", "error")
ROWS = {
    "W29": Row("GET", "/", "/", 200),
    "W30": Row("GET", "/u/3", USER, 200),
    "W31": Row("POST", "/u/3", USER, 200),
    "W32": Row("HEAD", "/u/3", USER, 200),
    "W33": Row("OPTIONS", "/u/3", USER, 200),
    "W34": Row("DELETE", "/u/3", USER, 405),
    "W35": Row("GET", "/u/x", NONE, 404),
    "W36": Row("GET", "/slash", NONE, 308),
    "W37-slash": Row("GET", "/slash/", "/slash/", 200),
    "W38": Row("GET", "/boom", "/boom", 500, "ValueError"),
    "W39": Row("GET", "/sboom", "/sboom", 200, "KeyError", "error"),
    "W39-first": Row("GET", "/sboom-first", "/sboom-first", 500, "KeyError", "error"),
    "W40": Row("GET", "/ab", "/ab", 418),
    "W41": Row("GET", "/st", "/st", 200),
    "W42": Row("GET", "/bp/in/t/y/a/b", "/bp/in/<t>/y/<path:p>", 200),
    "W43-nested-405": Row("POST", "/bp/in/t/y/a/b", "/bp/in/<t>/y/<path:p>", 405),
    "W43-nested-404": Row("GET", "/bp/in/t/z", NONE, 404),
    "W44": Row("GET", "/u/3?deny=1", USER, 401),
    "W44-405": Row("DELETE", "/u/3?deny=1", USER, 401),
    "W44-404": Row("GET", "/nope?deny=1", NONE, 401),
    "W45-before-request": Row("GET", "/u/3?before=1", USER, 500, "LookupError"),
    "W46": Row("GET", "/u/3?tdboom=1", USER, 500, "RuntimeError", "error"),
    "W47": Row("GET", "/boom", "/boom", 500, *BREAK, config={"PROPAGATE_EXCEPTIONS": True}),
    "W47-testing": Row("GET", "/boom", "/boom", 500, *BREAK, config={"TESTING": True}),
    "W47-debug": Row("GET", "/boom", "/boom", 500, *BREAK, config={"DEBUG": True}),
    "W48-error-handler": Row("GET", "/handled", "/handled", 503),
    "W48-exit": Row("GET", "/exit", "/exit", 500, "SystemExit", "error"),
    "gone": Row("GET", "/gone", "/gone", 200, "", "disconnect", {"leave_after": 2}),
    "head-unread": Row("HEAD", "/st", "/st", 200, drive={"iterate": False}),
    "unread": Row("GET", "/u/3", USER, 200, drive={"iterate": False}),
    "method": Row("FOO", "/u/3", "/u/<int:id>", 405),
    "method-unmatched": Row("FOO", "/nope", NONE, 404),
    "two-slashes": Row("GET", "/u//3", NONE, 308),
    "path-converter": Row("GET", "/files/a/b/c", "/files/<path:name>", 200),
    "any-converter": Row("GET", "/either/b", "/either/<any(a, b):kind>", 200),
    "any-converter-miss": Row("GET", "/either/c", NONE, 404),
    "long-path": Row("GET", "/" + "a" * 65536, NONE, 404),
    "mojibake": Row("GET", "/\xff\xfe", NONE, 404),
    "options-unmatched": Row("OPTIONS", "/nope", NONE, 404),
    "event-stream": Row("GET", "/events", "/events", 200),
    "application-root": Row("GET", "/u/3", USER, 200, config={"APPLICATION_ROOT": "/front"}),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_row(row: Row) -> None:
    registry = CollectorRegistry()
    app = build(registry=registry)
    app.config.update(row.config)
    exchange = call(app, environ(row.method, row.path), **row.drive)
    method = "_OTHER" if row.method == "FOO" else row.method
    expected = (method, row.route, row.status, row.exception, row.outcome)
    assert records(registry) == [expected]
    assert in_progress(registry) == 0
    assert exchange.status == row.status


def test_script_name_is_the_server_s_and_not_in_the_route() -> None:
    registry = CollectorRegistry()
    call(build(registry=registry), environ(path="/u/3", SCRIPT_NAME="/front"))
    assert records(registry) == [("GET", USER, 200, "", "complete")]


def test_bytes_both_ways() -> None:
    registry = CollectorRegistry()
    exchange = call(build(registry=registry), environ("POST", "/u/3", body=b"x" * 1000))
    assert exchange.body == b"3 1000"
    samples = collected(registry)
    wanted = {"method": "POST", "route": USER, "status": "200"}
    assert value(samples, "http_request_body_bytes_total", wanted) == 1000
    assert value(samples, "http_response_body_bytes_total", wanted) == len(b"3 1000")


def test_the_duration_of_a_stream_is_that_of_its_last_byte() -> None:
    registry = CollectorRegistry()
    app, during = build(registry=registry), []
    call(app, environ(path="/slow"), on_piece=lambda: during.append(in_progress(registry)))
    assert during == [1, 1]
    seconds = value(collected(registry), "http_request_duration_seconds_sum", {"route": "/slow"})
    assert seconds >= 0.05


def test_an_event_stream_is_not_a_latency() -> None:
    registry = CollectorRegistry()
    call(build(registry=registry), environ(path="/events"))
    samples = collected(registry)
    assert value(samples, "http_stream_duration_seconds_count", {"route": "/events"}) == 1
    assert value(samples, "http_request_duration_seconds_count") == 0


def test_w51_test_client_that_does_not_read() -> None:
    registry = CollectorRegistry()
    client = build(registry=registry).test_client()
    response = client.get("/u/3")  # buffered=False: what is not read is open until it is dropped
    assert response.status_code == 200
    response = client.get("/u/4")
    del response
    gc.collect()
    assert records(registry) == [("GET", USER, 200, "", "complete")] * 2
    assert in_progress(registry) == 0


@pytest.mark.parametrize("buffered", [True, False])
def test_test_client_that_reads(buffered: bool) -> None:
    registry = CollectorRegistry()
    response = build(registry=registry).test_client().get("/u/3", buffered=buffered)
    assert response.data == b"3 0"
    assert records(registry) == [("GET", USER, 200, "", "complete")]


HOOKS: dict[str, Callable[[Flask], object]] = {
    "before_request": lambda app: app.before_request(lambda: ("hooked", 202)),
    "url_value_preprocessor": lambda app: app.url_value_preprocessor(lambda *_: abort(403)),
    "after_request": lambda app: app.after_request(lambda _: Response("hooked", 203)),
}


@pytest.mark.parametrize(("hook", "status"), list(zip(HOOKS, (202, 403, 203), strict=True)))
def test_hooks_that_answer_keep_the_route(hook: str, status: int) -> None:
    registry = CollectorRegistry()
    app = build(registry=registry)
    HOOKS[hook](app)
    call(app, environ(path="/u/3"))
    assert records(registry) == [("GET", USER, status, "", "complete")]
