"""How the Flask extension is put in, and how it stacks with other WSGI applications."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper, shift_path_info

import pytest
from prometheus_client import CollectorRegistry

from metrics import collected, in_progress, records, series, value
from wsgi_door.driver import call, environ

flask = pytest.importorskip("flask", reason="Flask is not installed")

from flask import Flask  # noqa: E402
from werkzeug.middleware.dispatcher import DispatcherMiddleware  # noqa: E402
from werkzeug.middleware.proxy_fix import ProxyFix  # noqa: E402

from prom_middleware.errors import ConfigurationError, NotAnApplicationError  # noqa: E402
from prom_middleware.flask import Prometheus  # noqa: E402
from prom_middleware.instrumentation.nesting import MOST_PREFIXES  # noqa: E402
from prom_middleware.wsgi import PrometheusMiddleware  # noqa: E402

USER = "/u/<int:id>"
RECORD = ("GET", USER, 200, "", "complete")


def bare() -> Flask:
    app = Flask(__name__, static_folder=None)
    app.logger.disabled = True
    app.add_url_rule(USER, "user", lambda id: str(id))  # noqa: A006
    app.add_url_rule("/boom", "boom", boom)
    return app


def boom() -> str:
    raise ValueError("boom")


def text(app: Any, path: str = "/metrics") -> str:
    return call(app, environ(path=path)).body.decode()


def test_constructor() -> None:
    registry, app = CollectorRegistry(), bare()
    Prometheus(app, registry=registry)
    call(app, environ(path="/u/3"))
    assert records(registry) == [RECORD]


def test_init_app_later() -> None:
    registry, app = CollectorRegistry(), bare()
    extension = Prometheus(registry=registry)
    extension.init_app(app)
    call(app, environ(path="/u/3"))
    assert records(registry) == [RECORD]


def test_the_current_application_is_what_it_stands_for() -> None:
    registry, app = CollectorRegistry(), bare()
    with app.app_context():
        Prometheus(registry=registry).init_app(flask.current_app)
    call(app, environ(path="/u/3"))
    assert records(registry) == [RECORD]


def test_routes_may_be_added_afterwards() -> None:
    registry, app = CollectorRegistry(), bare()
    Prometheus(app, registry=registry)
    app.add_url_rule("/late/<name>", "late", lambda name: name)
    call(app, environ(path="/late/x"))
    assert records(registry) == [("GET", "/late/<name>", 200, "", "complete")]


def test_one_extension_for_two_applications() -> None:
    registry = CollectorRegistry()
    extension = Prometheus(registry=registry)
    for _ in range(2):
        app = bare()
        extension.init_app(app)
        call(app, environ(path="/u/3"))
    assert records(registry) == [RECORD] * 2


def test_two_extensions_on_one_registry_record_once() -> None:
    registry, app = CollectorRegistry(), bare()
    Prometheus(app, registry=registry)
    Prometheus(app, registry=registry)
    call(app, environ(path="/u/3"))
    assert records(registry) == [RECORD]
    assert in_progress(registry) == 0


@pytest.mark.parametrize("path", ["/u/3", "/boom"])
def test_c6_two_extensions_on_two_registries(path: str) -> None:
    registries, app = (CollectorRegistry(), CollectorRegistry()), bare()
    for registry in registries:
        Prometheus(app, registry=registry)
    call(app, environ(path=path))
    expected = [RECORD] if path == "/u/3" else [("GET", "/boom", 500, "ValueError", "complete")]
    assert [records(registry) for registry in registries] == [expected] * 2


def test_the_wsgi_door_around_the_extension_records_once() -> None:
    registry, app = CollectorRegistry(), bare()
    Prometheus(app, registry=registry)
    call(PrometheusMiddleware(app, registry=registry), environ(path="/boom"))
    assert records(registry) == [("GET", "/boom", 500, "ValueError", "complete")]


def mounted(inner: Any, registry: CollectorRegistry | None = None) -> Any:
    app = DispatcherMiddleware(bare(), {"/pre": inner})
    return PrometheusMiddleware(app, registry=registry) if registry else app


def instrumented(registry: CollectorRegistry, app: Any = None) -> Flask:
    app = app or bare()
    Prometheus(app, registry=registry)
    return app  # type: ignore[no-any-return]


def test_w49_below_a_dispatcher_that_is_not_instrumented() -> None:
    registry = CollectorRegistry()
    call(mounted(instrumented(registry)), environ(path="/pre/u/3"))
    assert records(registry) == [RECORD]


MOUNTS = [
    ("", "/pre/u/3", "/pre/u/<int:id>", 200),
    ("/front", "/pre/u/3", "/pre/u/<int:id>", 200),
    ("/pre", "/pre/u/3", "/pre/u/<int:id>", 200),
]


@pytest.mark.parametrize(("script_name", "path", "route", "status"), MOUNTS)
def test_w50_below_an_instrumented_dispatcher(
    script_name: str, path: str, route: str, status: int
) -> None:
    registry = CollectorRegistry()
    app = mounted(instrumented(registry), registry)
    call(app, environ(path=path, SCRIPT_NAME=script_name))
    assert records(registry) == [("GET", route, status, "", "complete")]
    assert in_progress(registry) == 0


def test_the_root_of_what_is_mounted_has_the_mount_in_its_name() -> None:
    registry, inner = CollectorRegistry(), bare()
    inner.add_url_rule("/", "root", lambda: "root")
    call(mounted(instrumented(registry, inner), registry), environ(path="/pre/"))
    assert records(registry) == [("GET", "/pre/", 200, "", "complete")]


def test_w50_two_dispatchers_deep() -> None:
    registry = CollectorRegistry()
    app = PrometheusMiddleware(
        DispatcherMiddleware(bare(), {"/a": mounted(instrumented(registry))}), registry=registry
    )
    call(app, environ(path="/a/pre/u/3"))
    assert records(registry) == [("GET", "/a/pre/u/<int:id>", 200, "", "complete")]


def test_tenants_that_clients_invent_are_not_all_in_the_route() -> None:
    """As the dispatcher of Flask's documentation, which takes the first part of any path away."""
    registry = CollectorRegistry()
    inner = instrumented(registry)

    def tenants(env: Any, start: Any) -> Any:
        shift_path_info(env)
        return inner(env, start)

    app = PrometheusMiddleware(tenants, registry=registry)
    for number in range(MOST_PREFIXES + 9):
        call(app, environ(path=f"/tenant-{number}/u/3"))
    routes = [route for _, route, *_ in records(registry)]
    assert len(set(routes)) == MOST_PREFIXES + 1
    assert routes.count(f"/tenant-0{USER}") == 1
    assert routes.count("/{path}" + USER) == 9


def test_w50_a_miss_below_the_mount_is_not_matched() -> None:
    registry = CollectorRegistry()
    call(mounted(instrumented(registry), registry), environ(path="/pre/nope"))
    [(method, route, status, exception, outcome)] = records(registry)
    assert (method, status, exception, outcome) == ("GET", 404, "", "complete")
    assert route in ("<unmatched>", "/pre/{path}")  # never the raw path


def test_flask_below_flask_is_recorded_once() -> None:
    registry = CollectorRegistry()
    outer = bare()
    outer.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]
        outer.wsgi_app, {"/pre": instrumented(registry)}
    )
    instrumented(registry, outer)
    call(outer, environ(path="/pre/u/3"))
    call(outer, environ(path="/u/3"))
    assert records(registry) == [("GET", "/pre/u/<int:id>", 200, "", "complete"), RECORD]


def leave() -> str:
    raise SystemExit(3)


def answer(env: Any, start: Any) -> list[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"of no framework"]


def named(path: str, methods: list[str]) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.add_url_rule(path, "view", lambda **_: "", methods=methods)
    return app


@pytest.mark.parametrize("outer", ["flask", "wsgi"])
@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/opaque/u/3", "<unmatched>", 200),
        ("GET", "/opaque", "<unmatched>", 200),
        ("GET", "/other/u/joe", "<unmatched>", 404),
        ("DELETE", "/other/u/3", "/other/u/<name>", 405),
        ("POST", "/other/u/3", "/other/u/<name>", 200),
        ("GET", "/u/3", USER, 200),
    ],
)
def test_what_a_dispatcher_further_in_answers_is_not_matched_with_the_application_s_rules(
    outer: str, method: str, path: str, route: str, status: int
) -> None:
    """As Flask's documentation and prometheus_client's have it: around `app.wsgi_app`."""
    registry, app = CollectorRegistry(), bare()
    app.add_url_rule("/<path:page>", "page", lambda page: page)
    mounts = {"/opaque": answer, "/other": named("/u/<name>", ["POST"])}
    if path == "/other/u/joe":
        mounts["/other"] = named("/else", ["GET"])
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, mounts)  # type: ignore[method-assign]
    served: Any = instrumented(registry, app)
    if outer == "wsgi":
        served = PrometheusMiddleware(
            DispatcherMiddleware(bare(), {"/a": served}), registry=registry
        )
        path, route = f"/a{path}", route if route == "<unmatched>" else f"/a{route}"
    call(served, environ(method, path))
    assert records(registry) == [(method, route, status, "", "complete")]


@pytest.mark.parametrize("path", ["/u/3", "/exit"])
def test_an_application_may_stand_below_a_dispatcher_of_its_own(path: str) -> None:
    registry, app = CollectorRegistry(), bare()
    app.add_url_rule("/exit", "exit", leave)
    mounts = {"/shop": app.wsgi_app}
    app.wsgi_app = DispatcherMiddleware(answer, mounts)  # type: ignore[method-assign]
    call(instrumented(registry, app), environ(path=f"/shop{path}"))
    [(_, route, *_)] = records(registry)
    assert route == "/shop" + (USER if path == "/u/3" else path)


def test_a_forwarded_prefix_is_not_in_the_route() -> None:
    """It is the proxy's SCRIPT_NAME, and a client could invent any number of them."""
    registry, app = CollectorRegistry(), bare()
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
    Prometheus(app, registry=registry)
    call(app, environ(path="/u/3", HTTP_X_FORWARDED_PREFIX="/front"))
    assert records(registry) == [RECORD]


@pytest.mark.parametrize("path", ["/u/3", "/metrics"])
def test_a_request_that_is_made_of_a_copy_of_the_environ_is_one_of_its_own(path: str) -> None:
    registry, app = CollectorRegistry(), bare()
    Prometheus(app, registry=registry)

    @app.post("/batch")
    def batch() -> bytes:
        copied = {**flask.request.environ, "PATH_INFO": path, "REQUEST_METHOD": "GET"}
        copied.pop("werkzeug.request")
        return flask.Response.from_app(app, copied).get_data()

    call(app, environ("POST", "/batch"))
    expected = [RECORD] if path == "/u/3" else []
    batched = ("POST", "/batch", 200, "", "complete")
    assert sorted(records(registry)) == sorted([batched, *expected])
    assert in_progress(registry) == 0


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("outer", ["wsgi", "flask"])
def test_a_dispatcher_behind_a_forwarded_prefix_keeps_its_mount(outer: str, method: str) -> None:
    registry, app = CollectorRegistry(), bare()
    inner = instrumented(registry) if outer == "wsgi" else bare()
    mounts = DispatcherMiddleware(app.wsgi_app, {"/in": inner})
    app.wsgi_app = ProxyFix(mounts, x_prefix=1)  # type: ignore[method-assign]
    if outer == "wsgi":
        served: Any = PrometheusMiddleware(app.wsgi_app, registry=registry)
    else:
        served = instrumented(registry, app)
    call(served, environ(method, "/in/u/3", HTTP_X_FORWARDED_PREFIX="/front"))
    [(_, route, *_)] = records(registry)
    assert route == f"/in{USER}"


@pytest.mark.parametrize(("path", "route"), [("/u/3", USER), ("/pre/u/3", f"/pre{USER}")])
def test_c3_flask_inside_asgi(path: str, route: str) -> None:
    a2wsgi = pytest.importorskip("a2wsgi", reason="a2wsgi is not installed")
    httpx = pytest.importorskip("httpx", reason="httpx is not installed")
    from prom_middleware.asgi import PrometheusMiddleware as Outer

    registry = CollectorRegistry()
    inner = instrumented(registry)
    app = Outer(
        a2wsgi.WSGIMiddleware(mounted(inner) if "pre" in path else inner), registry=registry
    )

    async def fetch() -> int:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get(path)).status_code  # type: ignore[no-any-return]

    assert asyncio.run(fetch()) == 200
    assert records(registry) == [("GET", route, 200, "", "complete")]
    assert in_progress(registry) == 0


def test_metrics_path_wins_over_the_application_s_routes_and_is_not_recorded() -> None:
    registry, app = CollectorRegistry(), bare()
    Prometheus(app, registry=registry)
    call(app, environ(path="/u/3"))
    for path in ("/metrics", "/metrics/"):
        assert value(series(text(app, path)), "http_requests_total", {"route": USER}) == 1
    assert records(registry) == [RECORD]


def test_metrics_path_none_is_the_application_s() -> None:
    registry, app = CollectorRegistry(), bare()
    Prometheus(app, registry=registry, metrics_path=None)
    assert call(app, environ(path="/metrics")).status == 404
    assert records(registry) == [("GET", "<unmatched>", 404, "", "complete")]


def test_before_request_never_sees_a_scrape() -> None:
    registry, app, seen = CollectorRegistry(), bare(), []
    app.before_request(lambda: seen.append(flask.request.path))
    Prometheus(app, registry=registry)
    exchange = call(app, environ(path="/metrics"))
    assert (exchange.status, seen) == (200, [])
    assert "set-cookie" not in exchange.headers
    assert exchange.headers["vary"] == "Accept, Accept-Encoding"  # and no cookie


def test_options_reach_the_door() -> None:
    registry, app = CollectorRegistry(), bare()
    labels = {"client": lambda facts: facts.headers["x-client"]}
    Prometheus(app, registry=registry, exclude="/boom", labels=labels, metrics_path="/m")
    call(app, environ(path="/boom"))
    call(app, environ(path="/u/3", HTTP_X_CLIENT="cli"))
    assert records(registry) == [RECORD]
    assert value(collected(registry), "http_requests_total", {"client": "cli"}) == 1
    assert "http_requests_total" in text(app, "/m")


def test_labels_are_told_the_path_at_the_door() -> None:
    registry, app = CollectorRegistry(), bare()
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/api": bare()})  # type: ignore[method-assign]
    Prometheus(app, registry=registry, labels={"path": lambda facts: facts.path})
    call(app, environ(path="/api/u/3"))
    assert value(collected(registry), "http_requests_total", {"path": "/api/u/3"}) == 1


def test_options_may_be_iterators() -> None:
    """They are read once, also for several applications."""
    registry, apps = CollectorRegistry(), [bare(), bare()]
    exclude, buckets = map(re.compile, ["^/boom$"]), iter([0.1, 1])
    extension = Prometheus(apps[0], registry=registry, exclude=exclude, buckets=buckets)
    extension.init_app(apps[1])
    for app in apps:
        call(app, environ(path="/boom"))
    assert records(registry) == []


def test_wrong_options_and_wrong_applications_raise_at_once() -> None:
    with pytest.raises(ConfigurationError, match="metrics_path"):
        Prometheus(metrics_path="no slash")
    with pytest.raises(NotAnApplicationError):
        Prometheus(registry=CollectorRegistry()).init_app(print)  # type: ignore[arg-type]


def send(app: Flask, source: Any, **more: Any) -> Any:
    app.add_url_rule("/file", "file", lambda: flask.send_file(source, mimetype="text/plain"))
    request = environ(path="/file", **{"wsgi.file_wrapper": FileWrapper}, **more)
    return app(request, lambda *_: None)


def test_send_file_keeps_the_server_s_file_wrapper(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"x" * 50_000)
    registry, app = CollectorRegistry(), bare()
    Prometheus(app, registry=registry)
    body = send(app, path)
    assert type(body) is FileWrapper
    body.close()
    assert records(registry) == [("GET", "/file", 200, "", "complete")]
    assert value(collected(registry), "http_response_body_bytes_total") == 50_000


def test_send_file_of_memory_counts_its_bytes() -> None:
    registry, app = CollectorRegistry(), bare()
    Prometheus(app, registry=registry)
    body = send(app, io.BytesIO(b"x" * 50_000))
    assert b"".join(body) == b"x" * 50_000
    body.close()
    assert records(registry) == [("GET", "/file", 200, "", "complete")]
    assert value(collected(registry), "http_response_body_bytes_total") == 50_000


def test_a_range_of_a_file_counts_what_was_sent(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"x" * 50_000)
    registry, app = CollectorRegistry(), bare()
    Prometheus(app, registry=registry)
    body = send(app, path, HTTP_RANGE="bytes=10-19")
    assert b"".join(body) == b"x" * 10
    body.close()
    assert records(registry) == [("GET", "/file", 206, "", "complete")]
    assert value(collected(registry), "http_response_body_bytes_total") == 10
