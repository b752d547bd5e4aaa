"""Flask-Login and a global before_request, /metrics before and behind them."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from metrics import in_progress, records, series, value
from prom_middleware import instrument
from prom_middleware.exposition import make_wsgi_app
from wsgi_door.driver import Exchange, call, environ

flask = pytest.importorskip("flask", reason="Flask is not installed")
# Its versions go with some of Flask's and Werkzeug's only, and say so when imported.
flask_login = pytest.importorskip(
    "flask_login",
    reason="Flask-Login is not installed, or not for this Flask",
    exc_type=ImportError,
)

ORDER = "/orders/<int:id>"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


class User(flask_login.UserMixin):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        self.id = name


def application(login_view: str | None = None, permanent: bool = False) -> Any:
    """Return an application with Flask-Login; `loaded` in its config are the users it looked up."""
    app = flask.Flask("stacked", static_folder=None)
    app.config.update(SECRET_KEY="only for tests", loaded=[])
    login = flask_login.LoginManager(app)
    login.login_view = login_view

    @login.user_loader
    def load(name: str) -> User:
        app.config["loaded"].append(name)
        return User(name)

    @app.get("/login/<name>")
    def enter(name: str) -> Any:
        flask.session.permanent = permanent
        flask_login.login_user(User(name))
        return flask.redirect("/")

    @app.get(ORDER)
    @flask_login.login_required
    def order(id: int) -> str:  # noqa: A002
        return str(id)

    @app.get("/admin/<int:id>")
    @flask_login.login_required
    def admin(id: int) -> str:  # noqa: A002
        if flask_login.current_user.id != "root":
            flask.abort(403)
        return str(id)

    return app


def get(app: Any, path: str, cookie: str = "", **more: str) -> Exchange:
    sent = {"HTTP_COOKIE": cookie} if cookie else {}
    return call(app, environ(path=path, HTTP_HOST="testserver", **sent, **more))


def log_in(app: Any, name: str) -> str:
    return get(app, f"/login/{name}").headers["set-cookie"].partition(";")[0]


def no_session(exchange: Exchange) -> Exchange:
    assert exchange.error is None
    assert "set-cookie" not in exchange.headers
    assert exchange.headers["vary"] == "Accept, Accept-Encoding"  # and no cookie
    return exchange


CASES: dict[str, tuple[str | None, str, str, str, int]] = {
    "anonymous": (None, "", "/orders/3", ORDER, 401),
    "anonymous is redirected": ("enter", "", "/orders/3", ORDER, 302),
    "logged in": (None, "joe", "/orders/3", ORDER, 200),
    "forbidden": (None, "joe", "/admin/3", "/admin/<int:id>", 403),
    "allowed": (None, "root", "/admin/3", "/admin/<int:id>", 200),
    "the login itself": (None, "", "/login/joe", "/login/<name>", 302),
    "a miss": (None, "joe", "/nope", "<unmatched>", 404),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("late", [False, True], ids=["door-last", "door-first"])
def test_flask_login(case: str, late: bool, registry: CollectorRegistry) -> None:
    login_view, user, path, route, status = CASES[case]
    if login_view:
        login_view = "static_login"
    cookie = log_in(application(), user) if user else ""
    app = application(login_view)
    if late:
        instrument(app, registry=registry)
    app.add_url_rule("/log-in", "static_login", lambda: "name?")
    if not late:
        instrument(app, registry=registry)
    assert get(app, path, cookie).status == status
    assert records(registry) == [("GET", route, status, "", "complete")]
    assert in_progress(registry) == 0


def test_metrics_outside_touch_no_session(registry: CollectorRegistry) -> None:
    """A permanent session is sent anew with every answer: a page has what the scrape has not."""
    app = instrument(application(permanent=True), registry=registry)
    cookie = log_in(app, "joe")
    for sent in ("", cookie, "session=broken"):
        assert no_session(get(app, "/metrics", sent)).status == 200
    assert app.config["loaded"] == []
    assert "set-cookie" in get(app, "/orders/3", cookie).headers
    assert app.config["loaded"] == ["joe"]


def inside(app: Any, registry: CollectorRegistry) -> Any:
    """Make /metrics a view of the application."""
    metrics = make_wsgi_app(registry)
    app.add_url_rule("/metrics", "metrics", flask_login.login_required(lambda: metrics))
    return instrument(app, registry=registry, metrics_path=None)


def test_metrics_inside(registry: CollectorRegistry) -> None:
    app = inside(application(), registry)
    refused = get(app, "/metrics")
    assert refused.status == 401
    assert b"http_requests" not in refused.body
    assert records(registry) == [("GET", "/metrics", 401, "", "complete")]
    cookie = log_in(app, "joe")
    for _ in range(2):
        scrape = get(app, "/metrics", cookie)
        assert (scrape.status, scrape.error) == (200, None)
        # What was refused, and the login: no scrape that was answered.
        assert value(series(scrape.body.decode()), "http_requests_total") == 2
    assert in_progress(registry) == 0


# --- a global before_request

ANSWERS = {
    "401": lambda: flask.abort(401),
    "403": lambda: ("no", 403),
    "302": lambda: flask.redirect("/log-in"),
}


def guarded(app: Any, answer: Any) -> Any:
    @app.before_request
    def guard() -> Any:
        flask.session["asked"] = flask.session.get("asked", 0) + 1
        return None if flask.request.headers.get("X-User") else answer()

    return app


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize(
    ("path", "route"),
    [("/orders/3", ORDER), ("/nope", "<unmatched>"), ("/login/x", "/login/<name>")],
)
def test_before_request(answer: str, path: str, route: str, registry: CollectorRegistry) -> None:
    app = instrument(guarded(application(), ANSWERS[answer]), registry=registry)
    exchange = get(app, path)
    assert exchange.status == int(answer)
    assert "set-cookie" in exchange.headers
    assert records(registry) == [("GET", route, int(answer), "", "complete")]


@pytest.mark.parametrize("answer", ANSWERS)
def test_metrics_before_a_before_request(answer: str, registry: CollectorRegistry) -> None:
    app = instrument(guarded(application(), ANSWERS[answer]), registry=registry)
    assert no_session(get(app, "/metrics")).status == 200
    assert records(registry) == []


@pytest.mark.parametrize("answer", ANSWERS)
def test_metrics_behind_a_before_request(answer: str, registry: CollectorRegistry) -> None:
    app = guarded(application(), ANSWERS[answer])
    app.add_url_rule("/metrics", "metrics", lambda: make_wsgi_app(registry))
    instrument(app, registry=registry, metrics_path=None)
    assert get(app, "/metrics").status == int(answer)
    assert records(registry) == [("GET", "/metrics", int(answer), "", "complete")]
    scrape = get(app, "/metrics", HTTP_X_USER="joe")
    assert scrape.status == 200
    assert value(series(scrape.body.decode()), "http_requests_total") == 1
    assert len(records(registry)) == 1


# --- a login that stands in front of Flask


def test_what_is_refused_before_flask_has_its_rule(registry: CollectorRegistry) -> None:
    """A request that is answered before routing is named by matching it then."""
    app = application()
    app.wsgi_app = Refusing()
    instrument(app, registry=registry)
    assert get(app, "/orders/3").status == 401
    assert records(registry) == [("GET", ORDER, 401, "", "complete")]


class Refusing:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        start_response("401 Unauthorized", [("WWW-Authenticate", "Basic")])
        return [b"no"]
