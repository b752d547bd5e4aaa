"""A WSGI session middleware and a login in it, /metrics before and behind them."""

from __future__ import annotations

from http import HTTPStatus
from http.cookies import SimpleCookie
from importlib.util import find_spec
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from metrics import in_progress, records, series, value
from prom_middleware import instrument
from prom_middleware.exposition import make_wsgi_app
from prom_middleware.wsgi import PrometheusMiddleware
from wsgi_door.driver import Exchange, call, environ

UNMATCHED = "<unmatched>"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


class SessionMiddleware:
    """Keep a dictionary per client; it is made, and sent anew, with every request."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.sessions: dict[str, dict[str, str]] = {}

    def __call__(self, environ: Any, start_response: Any) -> Any:
        sent = SimpleCookie(environ.get("HTTP_COOKIE", ""))
        name = sent["sid"].value if "sid" in sent else str(len(self.sessions))
        environ["test.session"] = self.sessions.setdefault(name, {})

        def start(status: str, headers: Any, exc_info: Any = None) -> Any:
            more = [("Set-Cookie", f"sid={name}; HttpOnly"), ("Vary", "Cookie")]
            return start_response(status, [*headers, *more], exc_info)

        return self.app(environ, start)


class LoginMiddleware:
    """Let in who is in the session; `status` is for all others, 403 for who may not see a page."""

    def __init__(self, app: Any, status: HTTPStatus) -> None:
        self.app = app
        self.status = status

    def __call__(self, environ: Any, start_response: Any) -> Any:
        path, session = environ["PATH_INFO"], environ["test.session"]
        if path == "/login":
            session["user"] = environ["QUERY_STRING"]
            return answer(start_response, HTTPStatus.FOUND)
        if "user" not in session:
            return answer(start_response, self.status)
        if path.startswith("/admin") and session["user"] != "root":
            return answer(start_response, HTTPStatus.FORBIDDEN)
        return self.app(environ, start_response)


def answer(start_response: Any, status: HTTPStatus) -> list[bytes]:
    headers = {401: [("WWW-Authenticate", "Session")], 302: [("Location", "/login")]}
    start_response(f"{status.value} {status.phrase}", headers.get(status.value, []))
    return [status.phrase.encode()]


def page(environ: Any, start_response: Any) -> list[bytes]:
    return answer(start_response, HTTPStatus.OK)


def get(app: Any, path: str, sid: str = "") -> Exchange:
    exchange = call(app, environ(path=path, **({"HTTP_COOKIE": f"sid={sid}"} if sid else {})))
    assert exchange.error is None
    return exchange


def row(route: str, status: int) -> tuple[str, str, int, str, str]:
    return ("GET", route, status, "", "complete")


REFUSALS = pytest.mark.parametrize(
    "refusal", [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.FOUND], ids=int
)


@REFUSALS
def test_outside(refusal: HTTPStatus, registry: CollectorRegistry) -> None:
    sessions = SessionMiddleware(LoginMiddleware(page, refusal))
    app = PrometheusMiddleware(sessions, registry=registry)
    exchange = get(app, "/orders/3", sid="a")
    assert exchange.status == refusal
    assert exchange.headers["vary"] == "Cookie"
    assert records(registry) == [row(UNMATCHED, refusal)]
    for sid in ("", "a", "b"):
        scrape = get(app, "/metrics", sid)
        assert scrape.status == 200
        assert "set-cookie" not in scrape.headers
        assert scrape.headers["vary"] == "Accept, Accept-Encoding"
    assert list(sessions.sessions) == ["a"]
    assert in_progress(registry) == 0


@REFUSALS
def test_inside(refusal: HTTPStatus, registry: CollectorRegistry) -> None:
    """The one door inside answers who is logged in, and sees what the login lets through."""
    door = PrometheusMiddleware(page, registry=registry)
    app = SessionMiddleware(LoginMiddleware(door, refusal))
    assert get(app, "/metrics", "a").status == refusal
    get(app, "/login?joe", "a")
    assert get(app, "/orders/3", "a").status == 200
    scrape = get(app, "/metrics", "a")
    assert scrape.status == 200
    assert value(series(scrape.body.decode()), "http_requests_total") == 1
    assert records(registry) == [row(UNMATCHED, 200)]


def inner_door(registry: CollectorRegistry) -> Any:
    return PrometheusMiddleware(page, registry=registry)


def own_dispatcher(registry: CollectorRegistry) -> Any:
    metrics = make_wsgi_app(registry)

    def dispatch(environ: Any, start_response: Any) -> Any:
        chosen = metrics if environ["PATH_INFO"] == "/metrics" else page
        return chosen(environ, start_response)

    return dispatch


def werkzeug_s_dispatcher(registry: CollectorRegistry) -> Any:
    dispatcher = pytest.importorskip(
        "werkzeug.middleware.dispatcher", reason="werkzeug is not installed"
    )
    return dispatcher.DispatcherMiddleware(page, {"/metrics": make_wsgi_app(registry)})


@REFUSALS
@pytest.mark.parametrize("inside", [inner_door, own_dispatcher, werkzeug_s_dispatcher])
def test_recorded_outside_scraped_inside(
    inside: Any, refusal: HTTPStatus, registry: CollectorRegistry
) -> None:
    login = LoginMiddleware(inside(registry), refusal)
    app = PrometheusMiddleware(SessionMiddleware(login), registry=registry, metrics_path=None)
    refused = get(app, "/metrics", "a")
    assert refused.status == refusal
    assert b"http_requests" not in refused.body
    assert records(registry) == [row(UNMATCHED, refusal)]
    get(app, "/login?joe", "a")
    for _ in range(2):
        scrape = get(app, "/metrics", "a")
        assert scrape.status == 200
        # What was refused, and the login: no scrape that was answered.
        assert value(series(scrape.body.decode()), "http_requests_total") == 2
    assert in_progress(registry) == 0


def test_all_kinds_of_refusals_in_one_application(registry: CollectorRegistry) -> None:
    login = LoginMiddleware(page, HTTPStatus.UNAUTHORIZED)
    app = PrometheusMiddleware(SessionMiddleware(login), registry=registry)
    get(app, "/orders/3", "a")
    get(app, "/login?joe", "a")
    get(app, "/admin", "a")
    get(app, "/orders/3", "a")
    statuses = sorted(status for _, _, status, _, _ in records(registry))
    assert statuses == [200, 302, 401, 403]


# --- around a framework


def flask_application() -> Any:
    import flask

    app = flask.Flask("stacked", static_folder=None)
    app.add_url_rule("/orders/<int:id>", "order", lambda id: str(id))  # noqa: A006
    app.add_url_rule("/admin/<int:id>", "admin", lambda id: str(id))  # noqa: A006
    return app


@pytest.mark.skipif(find_spec("flask") is None, reason="Flask is not installed")
@pytest.mark.parametrize(
    ("user", "path", "route", "status"),
    [
        ("", "/orders/3", "/orders/<int:id>", 401),
        ("joe", "/admin/3", "/admin/<int:id>", 403),
        ("joe", "/orders/3", "/orders/<int:id>", 200),
        ("joe", "/nope", UNMATCHED, 404),
        ("", "/nope", UNMATCHED, 401),
    ],
)
def test_sessions_within_flask_s_door(
    user: str, path: str, route: str, status: int, registry: CollectorRegistry
) -> None:
    """What is refused before Flask sees it is named by the rule that would have matched."""
    app = flask_application()
    sessions = SessionMiddleware(LoginMiddleware(app.wsgi_app, HTTPStatus.UNAUTHORIZED))
    app.wsgi_app = sessions
    instrument(app, registry=registry)
    sessions.sessions["a"] = {"user": user} if user else {}
    assert get(app, path, "a").status == status
    assert records(registry) == [row(route, status)]


@pytest.mark.skipif(find_spec("flask") is None, reason="Flask is not installed")
def test_sessions_between_two_doors(registry: CollectorRegistry) -> None:
    app = flask_application()
    instrument(app, registry=registry)
    sessions = SessionMiddleware(LoginMiddleware(app, HTTPStatus.UNAUTHORIZED))
    outer = PrometheusMiddleware(sessions, registry=registry)
    sessions.sessions["a"] = {"user": "joe"}
    assert get(outer, "/orders/3", "a").status == 200
    assert records(registry) == [row("/orders/<int:id>", 200)]
    scrape = get(outer, "/metrics", "a")
    assert "set-cookie" not in scrape.headers
    assert scrape.headers["vary"] == "Accept, Accept-Encoding"
