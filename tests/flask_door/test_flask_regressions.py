"""What went wrong once on the Flask door, or nearly did, each with the smallest case."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi.driver import request
from metrics import collected, in_progress, records, value
from wsgi_door.driver import HANDSHAKE, call, environ

flask = pytest.importorskip("flask", reason="Flask is not installed")

import werkzeug  # noqa: E402
from flask import Flask, Response  # noqa: E402
from flask.signals import got_request_exception  # noqa: E402
from werkzeug.debug import DebuggedApplication  # noqa: E402
from werkzeug.exceptions import NotFound  # noqa: E402
from werkzeug.middleware.dispatcher import DispatcherMiddleware  # noqa: E402
from werkzeug.middleware.proxy_fix import ProxyFix  # noqa: E402
from werkzeug.routing import BaseConverter  # noqa: E402

from prom_middleware import failures, instrument  # noqa: E402
from prom_middleware.flask import Prometheus  # noqa: E402
from prom_middleware.wsgi import PrometheusMiddleware  # noqa: E402

USER = "/u/<int:id>"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


class Leaves(BaseException):
    """What ends no process, and is no Exception."""


def boom() -> str:
    raise ValueError("boom")


def leave() -> str:
    raise SystemExit(3)


def pieces() -> Iterator[bytes]:
    yield b"one"
    yield b"two"


def bare() -> Flask:
    app = Flask(__name__, static_folder=None)
    app.logger.disabled = True
    app.add_url_rule(USER, "user", lambda id: str(id))  # noqa: A006
    app.add_url_rule("/boom", "boom", boom)
    app.add_url_rule("/exit", "exit", leave)
    app.add_url_rule("/st", "stream", lambda: Response(pieces()))
    return app


# An application of a factory.

WAYS: dict[str, Callable[..., object]] = {
    "the extension": Prometheus,
    "init_app": lambda app, **options: Prometheus(**options).init_app(app),
    "two extensions": lambda app, **options: [Prometheus(app, **options) for _ in range(2)],
    "instrument": instrument,
}
PATHS = ["/u/3", "/boom", "/exit", "/nope", "/st", "/metrics"]


@pytest.mark.parametrize("way", WAYS)
def test_an_application_goes_when_nobody_needs_it(registry: CollectorRegistry, way: str) -> None:
    app = bare()
    WAYS[way](app, registry=registry)
    for path in PATHS:
        call(app, environ(path=path))
    here, listening = weakref.ref(app), len(got_request_exception.receivers)
    del app
    gc.collect()
    assert here() is None
    assert len(got_request_exception.receivers) < listening


def test_one_extension_keeps_none_of_its_applications(registry: CollectorRegistry) -> None:
    extension, here = Prometheus(registry=registry), []
    for _ in range(3):
        app = bare()
        extension.init_app(app)
        call(app, environ(path="/boom"))
        here.append(weakref.ref(app))
    del app
    gc.collect()
    assert [one() for one in here] == [None] * 3
    assert records(registry) == [("GET", "/boom", 500, "ValueError", "complete")] * 3


def test_a_line_that_is_no_request_is_no_failure_of_ours(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What uWSGI makes of one has no method: Flask breaks there, without us as well."""
    monkeypatch.setattr(failures, "_counts", {})
    app = bare()
    Prometheus(app, registry=registry)
    asked = environ("/u/3")
    del asked["REQUEST_METHOD"]
    assert isinstance(call(app, asked).error, KeyError)
    assert records(registry) == [("_OTHER", "<unmatched>", 500, "KeyError", "error")]
    assert failures.counts() == {}


# What is refused before Flask sees it, or breaks before Flask answers.


def refusing(app: Any, makes_request: bool) -> Any:
    """Return a middleware that lets nobody in, and may look at the request as werkzeug does."""

    def middleware(env: dict[str, Any], start: Any) -> Any:
        request = werkzeug.Request(env) if makes_request else None
        response = werkzeug.Response("refused", 401)
        assert request is None or request.method == env["REQUEST_METHOD"]
        return response(env, start)

    return middleware


@pytest.mark.parametrize("makes_request", [False, True], ids=["plainly", "by-werkzeug"])
@pytest.mark.parametrize(
    ("method", "path", "route"),
    [("GET", "/u/3", USER), ("DELETE", "/u/3", USER), ("GET", "/nope", "<unmatched>")],
)
def test_what_is_refused_before_flask_has_its_route(
    registry: CollectorRegistry, method: str, path: str, route: str, makes_request: bool
) -> None:
    app = bare()
    app.wsgi_app = refusing(app.wsgi_app, makes_request)  # type: ignore[method-assign]
    Prometheus(app, registry=registry)
    assert call(app, environ(method, path)).status == 401
    assert records(registry) == [(method, route, 401, "", "complete")]
    assert in_progress(registry) == 0


@pytest.mark.parametrize("middleware", [False, True], ids=["by-flask", "by-middleware"])
@pytest.mark.parametrize(
    ("method", "path", "route"),
    [("GET", "/u/3", USER), ("DELETE", "/u/3", USER), ("GET", "/nope", "<unmatched>")],
)
def test_what_came_to_a_host_that_is_not_trusted_is_named_by_its_path(
    registry: CollectorRegistry, method: str, path: str, route: str, middleware: bool
) -> None:
    app = bare()
    app.config["TRUSTED_HOSTS"] = ["shop.example"]  # since Flask 3.1; before, it means nothing
    if middleware:
        app.wsgi_app = refusing(app.wsgi_app, False)  # type: ignore[method-assign]
    Prometheus(app, registry=registry)
    failures = value(collected(registry), "prom_middleware_errors_total")  # of the process
    call(app, environ(method, path, HTTP_HOST="elsewhere.example"))
    assert [record[:2] for record in records(registry)] == [(method, route)]
    assert value(collected(registry), "prom_middleware_errors_total") == failures


@pytest.mark.parametrize("path", ["/u/3", "/nope"])
def test_what_is_refused_below_a_mount_has_its_route(
    registry: CollectorRegistry, path: str
) -> None:
    app = bare()
    app.wsgi_app = refusing(app.wsgi_app, False)  # type: ignore[method-assign]
    Prometheus(app, registry=registry)
    mounted = PrometheusMiddleware(DispatcherMiddleware(app, {"/f": app}), registry=registry)
    assert call(mounted, environ(path=f"/f{path}")).status == 401
    route = f"/f{USER}" if path == "/u/3" else "<unmatched>"
    assert records(registry) == [("GET", route, 401, "", "complete")]


@pytest.mark.parametrize(("method", "route"), [("GET", "/who/<name>"), ("POST", "/who/<path:new>")])
def test_what_came_to_a_host_that_is_not_trusted_has_the_rule_of_its_method(
    registry: CollectorRegistry, method: str, route: str
) -> None:
    app = bare()
    app.config["TRUSTED_HOSTS"] = ["shop.example"]
    app.add_url_rule("/who/<name>", "one", lambda name: name)
    app.add_url_rule("/who/<path:new>", "new", lambda new: new, methods=["POST"])
    Prometheus(app, registry=registry)
    call(app, environ(method, "/who/me", HTTP_HOST="elsewhere.example"))
    assert [record[:2] for record in records(registry)] == [(method, route)]


@pytest.mark.parametrize("method", ["TRACE", "DELETE"])
def test_of_several_rules_without_the_method_it_is_the_one_that_flask_tried_first(
    registry: CollectorRegistry, method: str
) -> None:
    """Strings have another order in each process: with one rule of many methods it shows."""
    app = bare()
    methods = ["POST", "PUT", "PATCH", *(f"M{number}" for number in range(40))]
    app.add_url_rule("/who/<name>", "anybody", lambda name: name, methods=methods)
    app.add_url_rule("/who/me", "me", lambda: "me")
    Prometheus(app, registry=registry)
    assert call(app, environ(method, "/who/me")).status == 405
    assert records(registry) == [(method, "/who/me", 405, "", "complete")]


@pytest.mark.parametrize(("path", "route"), [("/again/3", "/again/<id>"), ("/u/3", USER)])
def test_a_view_may_make_a_request_of_its_own(
    registry: CollectorRegistry, path: str, route: str
) -> None:
    app = bare()
    view = lambda id: flask.Request(flask.request.environ).path  # noqa: A006, E731
    app.add_url_rule("/again/<id>", "again", view)
    Prometheus(app, registry=registry)
    assert call(app, environ(path=path)).status == 200
    assert records(registry) == [("GET", route, 200, "", "complete")]


@pytest.mark.parametrize("path", ["/u/3", "/boom", "/exit", "/nope"])
def test_requests_of_one_s_own_class_are_made_once(registry: CollectorRegistry, path: str) -> None:
    made: list[str] = []

    class Request(flask.Request):  # type: ignore[misc, name-defined]
        def __init__(self, env: Any, *arguments: Any, **options: Any) -> None:
            super().__init__(env, *arguments, **options)
            made.append(self.path)

    app = bare()
    app.request_class = Request
    Prometheus(app, registry=registry)
    call(app, environ(path=path))
    assert made == [path]
    assert len(records(registry)) == 1


def impolite(env: dict[str, Any], start: Any) -> list[bytes]:
    """Answer with a body whatever the method; Flask itself leaves a HEAD's body out."""
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"body"]


@pytest.mark.parametrize("path", ["/u/3", "/st", "/boom", "/below"])
def test_no_bytes_of_a_head_are_counted(registry: CollectorRegistry, path: str) -> None:
    app = bare()
    if path == "/below":
        app.wsgi_app = impolite  # type: ignore[method-assign]
    Prometheus(app, registry=registry)
    call(app, environ("HEAD", path))
    assert [record[0] for record in records(registry)] == ["HEAD"]
    assert value(collected(registry), "http_response_body_bytes_total") == 0


def test_a_websocket_is_no_request(registry: CollectorRegistry) -> None:
    app = bare()

    @app.get("/socket", websocket=True)
    def socket() -> str:
        raise ConnectionError("as simple_websocket does under werkzeug, once it is closed")

    Prometheus(app, registry=registry)
    call(app, environ(path="/socket", **HANDSHAKE))
    assert records(registry) == []
    assert value(collected(registry), "http_request_exceptions_total") == 0
    assert in_progress(registry) == 0


def signal_and_answer(error: Exception) -> Any:
    """Do as Flask-RESTX and Flask-RESTful do with all that is raised, `abort(404)` included."""
    flask.got_request_exception.send(flask.current_app._get_current_object(), exception=error)
    return getattr(error, "response", None) or (str(error), getattr(error, "code", 500))


def refuse(what: Any) -> None:
    if isinstance(what, NotFound):
        raise what
    if what:
        flask.abort(what)


def forbid(response: Any) -> Any:
    flask.abort(403)


@pytest.mark.parametrize(
    ("path", "what", "status", "exception"),
    [
        ("/u/3", 404, 404, ""),
        ("/u/3", Response("no", 402), 402, ""),
        ("/u/3", NotFound(response=Response("no", 402)), 402, ""),
        ("/boom", None, 500, "ValueError"),
        ("/u/3", forbid, 500, "Forbidden"),
    ],
    ids=["a-code", "a-response", "a-code-with-a-response", "another", "after-the-view"],
)
def test_an_answer_that_is_signalled_is_no_exception(
    registry: CollectorRegistry, path: str, what: Any, status: int, exception: str
) -> None:
    app = bare()
    if what is forbid:
        app.after_request(what)  # there, Flask makes a 500 of it
    else:
        app.register_error_handler(Exception, signal_and_answer)
        app.before_request(lambda: refuse(what))
    Prometheus(app, registry=registry)
    answer = call(app, environ(path=path))
    route = USER if path == "/u/3" else path
    assert records(registry) == [("GET", route, answer.status, exception, "complete")]
    assert answer.status == status


@pytest.mark.parametrize(("path", "status"), [("/u/3", 200), ("/nope", 404), ("/boom", 500)])
def test_an_adapter_that_stops_at_the_content_length(
    registry: CollectorRegistry, path: str, status: int
) -> None:
    """asgiref's closes nothing, and what was raised may keep the response in a cycle."""
    adapter = pytest.importorskip("asgiref.wsgi", reason="asgiref is not installed")
    app = bare()
    Prometheus(app, registry=registry)
    gc.disable()
    try:
        answer = request(adapter.WsgiToAsgi(app), path)
        assert answer.status == status
        assert [record[2:] for record in records(registry)] == [
            (status, "ValueError" if status == 500 else "", "complete")
        ]
        assert value(collected(registry), "http_response_body_bytes_total") == len(answer.body)
        assert in_progress(registry) == 0
    finally:
        gc.enable()


def test_a_client_that_leaves_a_debugged_application(registry: CollectorRegistry) -> None:
    """Werkzeug's debugger closes nothing then, and keeps Flask's request in a cycle."""
    app = bare()
    Prometheus(app, registry=registry)
    gc.disable()
    try:
        call(DebuggedApplication(app, evalex=True), environ(path="/st"), leave_after=1)
        assert records(registry) == [("GET", "/st", 200, "", "disconnect")]
        assert in_progress(registry) == 0
    finally:
        gc.enable()


class Breaking(BaseConverter):
    def to_python(self, value: str) -> str:
        raise KeyError(value)


def test_a_converter_that_raises_is_no_failure_of_ours(registry: CollectorRegistry) -> None:
    app, before = bare(), failures.counts()
    app.url_map.converters["breaking"] = Breaking
    app.add_url_rule("/c/<breaking:x>", "breaking", lambda x: x)
    Prometheus(app, registry=registry)
    assert call(app, environ(path="/c/1")).status == 500
    assert records(registry) == [("GET", "<unmatched>", 500, "KeyError", "complete")]
    assert failures.counts() == before


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/v1/u/5", USER, 200),
        ("POST", "/v1/u/5", USER, 405),
        ("GET", "/v1/nothing", "<unmatched>", 404),
        ("GET", "/v1/gone", "<unmatched>", 404),
        ("GET", "/u/5", USER, 200),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/front"])
def test_middleware_that_hands_on_a_copy_of_the_environ(
    registry: CollectorRegistry, method: str, path: str, route: str, status: int, prefix: str
) -> None:
    """What it takes from the path is no mount, also where a proxy's prefix makes it look so."""
    app = bare()
    app.add_url_rule("/v1/gone", "gone", boom)
    inner = app.wsgi_app

    def strips(env: dict[str, Any], start: Any) -> Any:
        return inner({**env, "PATH_INFO": env["PATH_INFO"].removeprefix("/v1")}, start)

    app.wsgi_app = ProxyFix(strips, x_prefix=1)  # type: ignore[method-assign]
    forwarded = {"HTTP_X_FORWARDED_PREFIX": prefix} if prefix else {}
    call(instrument(app, registry=registry), environ(method, path, **forwarded))
    assert records(registry) == [(method, route, status, "", "complete")]


def proxied() -> Flask:
    app = bare()
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    return app


@pytest.mark.parametrize("path", ["/f/u/5", "/f/nothing"])
def test_a_mounted_application_with_middleware_of_its_own(
    registry: CollectorRegistry, path: str
) -> None:
    applications = pytest.importorskip("starlette.applications")
    routing = pytest.importorskip("starlette.routing")
    adapter = pytest.importorskip("a2wsgi").WSGIMiddleware
    inner = proxied()
    Prometheus(inner, registry=registry)
    mounted = applications.Starlette(routes=[routing.Mount("/f", adapter(inner))])
    status = request(instrument(mounted, registry=registry), path).status
    route = f"/f{USER}" if status == 200 else "/f/{path}"
    assert records(registry) == [("GET", route, status, "", "complete")]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_view_that_asks_for_something_else_keeps_its_name(
    registry: CollectorRegistry, method: str
) -> None:
    app = proxied()

    @app.route("/batch", methods=[method])
    def batch() -> Response:
        with app.test_request_context("/u/1", environ_base=flask.request.environ):
            return app.full_dispatch_request()

    call(instrument(app, registry=registry), environ(method, "/batch"))
    assert records(registry) == [(method, "/batch", 200, "", "complete")]


@pytest.mark.parametrize(
    ("method", "asked", "route"),
    [("POST", ["/u/1"], "<unmatched>"), ("GET", ["/u/x", "/u/1"], USER)],
    ids=["batch", "fallback"],
)
def test_middleware_that_asks_for_itself(
    registry: CollectorRegistry, method: str, asked: list[str], route: str
) -> None:
    app = bare()
    inner = app.wsgi_app

    def asks(env: dict[str, Any], start: Any) -> Any:
        for path in asked:
            copy = {**env, "REQUEST_METHOD": "GET", "PATH_INFO": path}
            body = list(inner(copy, lambda *_: lambda _: None))
        start("200 OK", [])
        return body

    app.wsgi_app = asks  # type: ignore[method-assign]
    call(instrument(app, registry=registry), environ(method, "/all"))
    assert records(registry) == [(method, route, 200, "", "complete")]


def test_middleware_that_asks_for_more_after_the_answer_has_begun(
    registry: CollectorRegistry,
) -> None:
    app = bare()
    inner = app.wsgi_app

    def includes(env: dict[str, Any], start: Any) -> Any:
        page = list(inner({**env}, start))
        return [*page, *inner({**env, "PATH_INFO": "/st"}, lambda *_: print)]

    app.wsgi_app = includes  # type: ignore[method-assign]
    assert call(instrument(app, registry=registry), environ(path="/u/1")).body == b"1onetwo"
    assert records(registry) == [("GET", USER, 200, "", "complete")]


def first_found(*apps: Any, copies: bool) -> Any:
    """Return what asks one application after the other, until one finds something."""

    def cascade(env: dict[str, Any], start: Any) -> Any:
        for app in apps:
            told: list[Any] = []
            body = app({**env} if copies else env, lambda *args: told.append(args) or print)  # noqa: B023
            if not told[0][0].startswith("404"):
                break
            getattr(body, "close", int)()
        start(*told[0])
        return body

    return cascade


def finds_nothing() -> Flask:
    pages = Flask(__name__, static_folder=None)
    pages.add_url_rule("/<path:page>", "page", lambda page: flask.abort(404))
    return pages


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize(("path", "route"), [("/u/1", USER), ("/no", "<unmatched>")])
def test_who_answers_in_the_end_names_it(
    registry: CollectorRegistry, copies: bool, path: str, route: str
) -> None:
    pages, shop = finds_nothing(), bare()
    for app in (pages, shop):
        Prometheus(app, registry=registry)
    status = call(
        instrument(first_found(pages, shop, copies=copies), registry=registry), environ(path=path)
    ).status
    assert records(registry) == [("GET", route, status, "", "complete")]


def test_who_is_asked_after_the_answer_has_begun_does_not_name_it(
    registry: CollectorRegistry,
) -> None:
    pages, shop = finds_nothing(), bare()
    for app in (pages, shop):
        Prometheus(app, registry=registry)

    def asks_another(env: dict[str, Any], start: Any) -> Any:
        body = shop(env, start)
        list(pages({**env}, lambda *_: print))
        return body

    assert call(instrument(asks_another, registry=registry), environ(path="/u/1")).body == b"1"
    assert records(registry) == [("GET", USER, 200, "", "complete")]


@pytest.mark.parametrize("copies", [False, True])
def test_who_answers_inside_of_another_s_door_names_it(
    registry: CollectorRegistry, copies: bool
) -> None:
    pages, shop = finds_nothing(), bare()
    pages.wsgi_app = first_found(pages.wsgi_app, shop, copies=copies)  # type: ignore[method-assign]
    for app in (pages, shop):
        Prometheus(app, registry=registry)
    assert call(pages, environ(path="/u/1")).body == b"1"
    assert records(registry) == [("GET", USER, 200, "", "complete")]


def test_what_goes_wrong_after_a_view_that_raised_is_counted_beside_it(
    registry: CollectorRegistry,
) -> None:
    app = bare()

    @app.teardown_request
    def broken(_: object) -> None:
        raise LookupError("gone")

    call(instrument(app, registry=registry), environ(path="/boom"))
    samples = collected(registry)
    for name in ("ValueError", "LookupError"):
        assert value(samples, "http_request_exceptions_total", {"exception": name}) == 1
    assert value(samples, "http_requests_total") == 1


@pytest.mark.parametrize("error", [SystemExit, KeyError, Leaves])
@pytest.mark.parametrize("outer", [True, False])
def test_what_breaks_below_a_door_further_out_has_its_rule(
    registry: CollectorRegistry, outer: bool, error: type[BaseException]
) -> None:
    """Flask signals no BaseException, as gevent's Timeout is one."""

    def breaks(**_: int) -> str:
        raise error

    app = Flask(__name__)
    app.add_url_rule(USER, view_func=breaks)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    Prometheus(app, registry=registry)
    served = PrometheusMiddleware(app, registry=registry) if outer else app
    assert isinstance(call(served, environ(path="/u/3")).error, error)
    assert records(registry) == [("GET", USER, 500, error.__name__, "error")]
