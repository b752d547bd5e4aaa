"""`metrics_blueprint`: /metrics as one of the application's own views."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from metrics import collected, records, series, value

flask = pytest.importorskip("flask", reason="Flask is not installed")

from prom_middleware.errors import OptionError  # noqa: E402
from prom_middleware.exposition import basic_auth  # noqa: E402
from prom_middleware.flask import Prometheus, metrics_blueprint  # noqa: E402


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def app(registry: CollectorRegistry) -> Any:
    app = flask.Flask("blueprint", static_folder=None)
    Prometheus(app, registry=registry, metrics_path=None)

    @app.get("/hello")
    def hello() -> str:
        return "hello"

    return app


def test_metrics(app: Any, registry: CollectorRegistry) -> None:
    app.register_blueprint(metrics_blueprint(registry))
    client = app.test_client()
    assert client.get("/hello").status_code == 200
    for path in ("/metrics", "/metrics/"):
        response = client.get(path)
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert value(series(response.text), "http_requests_total", {"route": "/hello"}) == 1
    assert records(registry) == [("GET", "/hello", 200, "", "complete")], "scrapes are none"
    assert value(collected(registry), "http_requests_in_progress") == 0


def test_methods(app: Any, registry: CollectorRegistry) -> None:
    app.register_blueprint(metrics_blueprint(registry))
    client = app.test_client()
    head = client.head("/metrics")
    assert (head.status_code, head.data) == (200, b"")
    assert int(head.headers["Content-Length"]) > 0
    assert client.post("/metrics").status_code == 405
    assert client.get("/metrics?name[]=nothing").status_code == 200


def test_prefix_path_and_name(app: Any, registry: CollectorRegistry) -> None:
    one = metrics_blueprint(registry, metrics_path="/numbers")
    other = metrics_blueprint(registry, name="other")
    app.register_blueprint(one, url_prefix="/internal")
    app.register_blueprint(other)
    client = app.test_client()
    assert client.get("/internal/numbers").status_code == 200
    assert client.get("/metrics").status_code == 200
    with app.test_request_context():
        assert flask.url_for("prom_middleware.metrics") == "/internal/numbers"


def test_behind_the_application_s_own_login(app: Any, registry: CollectorRegistry) -> None:
    @app.before_request
    def login() -> Any:
        if flask.request.headers.get("X-User") != "joe":
            flask.abort(401)

    app.register_blueprint(metrics_blueprint(registry))
    client = app.test_client()
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"X-User": "joe"}).status_code == 200


def test_a_login_for_the_metrics_only(app: Any, registry: CollectorRegistry) -> None:
    blueprint = metrics_blueprint(registry)

    @blueprint.before_request
    def refuse() -> Any:
        flask.abort(403)

    app.register_blueprint(blueprint)
    client = app.test_client()
    assert client.get("/hello").status_code == 200
    assert client.get("/metrics").status_code == 403


@pytest.mark.parametrize(
    ("options", "coding"), [({}, "gzip"), ({"disable_compression": True}, None)]
)
def test_compression(
    app: Any, registry: CollectorRegistry, options: dict[str, Any], coding: str | None
) -> None:
    app.register_blueprint(metrics_blueprint(registry, **options))
    response = app.test_client().get("/metrics", headers={"Accept-Encoding": "gzip"})
    assert response.headers.get("Content-Encoding") == coding


def test_access(app: Any, registry: CollectorRegistry) -> None:
    app.register_blueprint(metrics_blueprint(registry, access=basic_auth("joe", "secret")))
    client = app.test_client()
    response = client.get("/metrics")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic")
    assert client.get("/metrics", auth=("joe", "secret")).status_code == 200


def test_the_session_is_left_alone(app: Any, registry: CollectorRegistry) -> None:
    app.config["SECRET_KEY"] = "only for tests"

    @app.get("/visit")
    def visit() -> str:
        flask.session["visits"] = 1
        return "visited"

    app.register_blueprint(metrics_blueprint(registry))
    client = app.test_client()
    assert "Set-Cookie" in client.get("/visit").headers
    assert "Set-Cookie" not in client.get("/metrics").headers


def test_an_option_that_is_none(registry: CollectorRegistry) -> None:
    with pytest.raises((TypeError, ValueError), match="nothing"):
        metrics_blueprint(registry, nothing=True)


def test_in_a_request_of_nobody_s(registry: CollectorRegistry) -> None:
    """An application without the extension."""
    app = flask.Flask("plain", static_folder=None)
    app.register_blueprint(metrics_blueprint(registry))
    assert app.test_client().get("/metrics").status_code == 200


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        *(("metrics_path", wrong) for wrong in ("x", "", None, 5, "/<", "/<x>", "/m?x", "/")),
        *(("name", wrong) for wrong in ("a.b", "", None)),
    ],
)
def test_a_wrong_place_is_refused(option: str, wrong: Any) -> None:
    with pytest.raises(OptionError, match=f"{option}={re.escape(repr(wrong))}: give a"):
        metrics_blueprint(CollectorRegistry(), **{option: wrong})
