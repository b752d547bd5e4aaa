"""Each finding in a small application that has that fault, and nothing in a healthy one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from doctor.applications import (
    KINDS,
    Options,
    asgi_app,
    fastapi_app,
    flask_app,
    found,
    only,
    starlette_app,
    wsgi_app,
)
from prom_middleware import allow_networks, bearer_token, instrument
from prom_middleware.exposition import make_asgi_app
from prom_middleware.wsgi import PrometheusMiddleware as WSGIMiddleware

every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_nothing_in_a_healthy_application(kind: str, options: Options) -> None:
    assert found(instrument(KINDS[kind](), **options)) == []


@every_kind
def test_no_door(kind: str) -> None:
    finding = only(KINDS[kind](), "no-door")
    assert finding.remedy == {
        "flask": "Prometheus(app)",
        "twisted": "site = instrument(root)",
        "klein": "site = instrument(app)",
        "klein resource": "site = instrument(root)",
        "site": "site = instrument(root)",
    }.get(kind, "app = instrument(app)")


@every_kind
def test_two_doors(kind: str, options: Options) -> None:
    if kind in ("twisted", "klein", "klein resource", "site"):
        pytest.skip("a second one on the same registry is none")
    app = instrument(instrument(KINDS[kind](), **options), **options)
    assert "2 doors stand around one application" in only(app, "two-doors").problem


def test_two_doors_on_two_registries_are_meant(options: Options) -> None:
    other = {**options, "registry": CollectorRegistry()}
    assert found(instrument(instrument(asgi_app(), **options), **other)) == []


@every_kind
def test_open_metrics(kind: str, options: Options) -> None:
    del options["access"]
    finding = only(instrument(KINDS[kind](), **options), "open-metrics")
    assert finding.problem == "/metrics is open to everybody"
    assert "access=basic_auth" in finding.remedy


@pytest.mark.parametrize(
    ("more", "is_open"),
    [
        ({"access": bearer_token("secret")}, False),
        ({"access": allow_networks("10.0.0.0/8")}, False),
        ({"access": allow_networks("0.0.0.0/0")}, True),
        ({"access": lambda request: True}, True),
        ({"access": lambda request: request.headers.get("x-secret") == "s"}, False),
        ({"access": None, "metrics_path": None}, False),
        ({"access": None, "metrics_path": "/internal/metrics"}, True),
    ],
    ids=["token", "network", "all-networks", "anybody", "own-rule", "nowhere", "elsewhere"],
)
def test_who_may_read_it(options: Options, more: Options, is_open: bool) -> None:
    assert bool(found(instrument(asgi_app(), **{**options, **more}))) is is_open


def test_an_endpoint_of_its_own_that_is_open(options: Options) -> None:
    app = fastapi_app()
    app.add_route("/federate", make_asgi_app(options["registry"]))
    app.add_route("/inside", make_asgi_app(options["registry"], access=bearer_token("secret")))
    finding = only(instrument(app, **options), "open-metrics")
    assert finding.problem == "/federate is open to everybody"


# Order


def test_a_session_outside_of_the_door(options: Options) -> None:
    app = starlette_app()
    from starlette.middleware.sessions import SessionMiddleware

    from prom_middleware.asgi import PrometheusMiddleware

    pytest.importorskip("itsdangerous")
    app.add_middleware(PrometheusMiddleware, **options)
    app.add_middleware(SessionMiddleware, secret_key="secret")  # the last one is the outermost
    finding = only(app, "order")
    assert finding.problem.startswith("SessionMiddleware stands outside of the door")


def test_a_session_inside_of_it(options: Options) -> None:
    app = starlette_app()
    from starlette.middleware.sessions import SessionMiddleware

    from prom_middleware.asgi import PrometheusMiddleware

    pytest.importorskip("itsdangerous")
    app.add_middleware(SessionMiddleware, secret_key="secret")
    app.add_middleware(PrometheusMiddleware, **options)
    assert found(app) == []


def test_a_function_that_asks_for_a_login(options: Options) -> None:
    app = fastapi_app()
    from prom_middleware.asgi import PrometheusMiddleware

    app.add_middleware(PrometheusMiddleware, **options)

    @app.middleware("http")
    async def require_login(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    assert only(app, "order").problem.startswith("require_login stands outside of the door")


class AuthMiddleware:
    """WSGI middleware as there are many."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.app(environ, start_response)


def test_a_login_around_wsgi(options: Options) -> None:
    assert only(AuthMiddleware(instrument(wsgi_app(), **options)), "order")
    other = {**options, "registry": CollectorRegistry()}
    assert found(instrument(AuthMiddleware(wsgi_app()), **other)) == []


def test_a_login_around_flask(options: Options) -> None:
    app = instrument(flask_app(), **options)
    app.wsgi_app = AuthMiddleware(app.wsgi_app)
    assert only(app, "order").problem.startswith("AuthMiddleware stands outside")


def test_a_function_without_its_application() -> None:
    def application(made: bool) -> Any:
        if made:
            app = wsgi_app()

        def handed_on(environ: Any, start_response: Any) -> Any:
            return app(environ, start_response)

        return handed_on

    assert only(application(made=False), "no-door")


def test_middleware_that_is_a_function(options: Options) -> None:
    def check_auth(app: Any) -> Any:
        def checked_auth(environ: Any, start_response: Any) -> Any:
            return app(environ, start_response)

        return checked_auth

    assert only(check_auth(instrument(wsgi_app(), **options)), "order")


# Routes and labels


def test_a_catch_all_of_fastapi(options: Options) -> None:
    app = fastapi_app()

    @app.get("/{path:path}")
    async def anything(path: str) -> str:
        return path

    assert "/{path} takes every path" in only(instrument(app, **options), "routes").problem


@pytest.mark.parametrize("route", ["/<path:path>", "/<path:path>/"])
def test_a_catch_all_of_flask(options: Options, route: str) -> None:
    app = flask_app()
    app.add_url_rule(route, view_func=lambda path: path, endpoint="anything")
    assert f"{route} takes every path" in only(instrument(app, **options), "routes").problem


def test_a_catch_all_of_a_host_that_has_two_names(options: Options) -> None:
    klein = pytest.importorskip("klein")
    from twisted.web.vhost import NameVirtualHost

    app, hosts = klein.Klein(), NameVirtualHost()
    app.route("/<path:rest>")(lambda request, rest: rest)
    hosts.default = app.resource()
    hosts.addHost(b"www.shop.example", hosts.default)
    assert only(instrument(hosts, **options), "routes")


def test_a_catch_all_of_klein(options: Options) -> None:
    klein = pytest.importorskip("klein")
    app = klein.Klein()
    app.route("/<path:path>")(lambda request, path: path)
    assert only(instrument(app, **options), "routes")
    assert {check for check, _ in found(app)} == {"no-door", "routes"}


def test_routes_made_in_a_loop(options: Options) -> None:
    app = fastapi_app()
    for number in range(30):
        app.add_api_route(f"/shop/{number}/items/{{item_id}}", lambda item_id: item_id)
    finding = only(instrument(app, **options), "routes")
    assert finding.problem.startswith("30 routes differ in a number only, as /shop/0/items/{")


def test_more_routes_than_series(options: Options) -> None:
    app = flask_app()
    for letter in "abcdefgh":
        app.add_url_rule(f"/{letter}", view_func=str, endpoint=letter)
    finding = only(instrument(app, max_series=20, **options), "routes")
    assert "do not fit into max_series=20" in finding.problem


@pytest.mark.parametrize("inside", [False, True], ids=["around", "inside"])
def test_a_door_of_wsgi_at_flask(inside: bool, options: Options) -> None:
    app = flask_app()
    door = WSGIMiddleware(app.wsgi_app if inside else app, **options)
    if inside:
        app.wsgi_app = door
    finding = only(app if inside else door, "routes")
    assert "rules of Flask" in finding.problem
    assert "Prometheus(app)" in finding.remedy


def test_a_door_of_wsgi_around_that_of_flask(options: Options) -> None:
    app = instrument(flask_app(), **options)
    assert "routes" not in dict(found(WSGIMiddleware(app, **options)))


def test_a_router_of_protocols(options: Options) -> None:
    class ProtocolTypeRouter:  # as that of Channels keeps them
        def __init__(self, mapping: dict[str, Any]) -> None:
            self.application_mapping = mapping

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.application_mapping[scope["type"]](scope, receive, send)

    app = instrument(starlette_app(), **options)
    assert found(ProtocolTypeRouter({"websocket": None, "http": app})) == []


class URLRouter:
    """Keeps its routes as that of Channels does."""

    def __init__(self, *callbacks: Any) -> None:
        self.routes = [SimpleNamespace(callback=one) for one in callbacks]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.routes[-1].callback(scope, receive, send)


@pytest.mark.parametrize("name", ["other_asgi_app", "inner"])
def test_an_application_that_stands_beside_another_one(name: str, options: Options) -> None:
    class Beside:  # python-socketio's application, Channels' middleware
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await getattr(self, name)(scope, receive, send)

    app = Beside()
    setattr(app, name, starlette_app())
    assert only(app, "no-door")
    setattr(app, name, instrument(starlette_app(), **options))
    assert found(app) == []


def test_an_application_among_routes_of_consumers(options: Options) -> None:
    async def consumer(scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError

    assert only(URLRouter(consumer, starlette_app()), "no-door")
    assert found(URLRouter(consumer, instrument(starlette_app(), **options))) == []


def test_flask_below_asgi(options: Options) -> None:
    asgiref = pytest.importorskip("asgiref.wsgi")
    assert found(asgiref.WsgiToAsgi(instrument(flask_app(), **options))) == []
    outside = instrument(asgiref.WsgiToAsgi(flask_app()), **options)
    assert "rules of Flask" in only(outside, "routes").problem


def test_a_door_in_a_mount(options: Options) -> None:
    app, inner = starlette_app(), starlette_app()
    app.mount("/inner", inner)
    assert only(app, "no-door")
    app.mount("/other", instrument(starlette_app(), **options))
    assert found(app) == []


@pytest.mark.parametrize("name", ["flask.FlaskApp", "asynchronous.AsyncApp"])
def test_connexion(name: str, options: Options) -> None:
    class Connexion:
        def __init__(self) -> None:
            self.app = flask_app()

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            raise NotImplementedError

    module, _, Connexion.__qualname__ = f"connexion.apps.{name}".rpartition(".")
    Connexion.__module__ = module
    assert only(Connexion(), "no-door").remedy == "app = instrument(app)"
    assert found(instrument(Connexion(), **options)) == []


def test_a_framework_whose_routes_are_not_known(options: Options) -> None:
    falcon = pytest.importorskip("falcon")
    assert "falcon" in only(instrument(falcon.App(), **options), "routes").problem


@pytest.mark.parametrize(
    ("label", "source"),
    [
        (lambda facts: facts.path, "the path"),
        (lambda facts: facts.path.split("/")[-1], "the path"),
        (lambda facts: facts.headers.get("x-request-id"), "the header x-request-id"),
        (lambda facts: facts.headers["user-agent"], "the header user-agent"),
        (
            lambda facts: "user-agent" in facts.headers and facts.headers["user-agent"],
            "the header user-agent",
        ),
        (lambda facts: "yes" if "authorization" in facts.headers else "no", ""),
        (lambda facts: facts.headers.get("x-tenant"), ""),
        (lambda facts: facts.path.split("/")[1], ""),
        (lambda facts: facts.request.user.name, ""),
        (lambda facts: facts.status[0], ""),
    ],
    ids=[
        "path",
        "end",
        "request-id",
        "agent",
        "agent if any",
        "whether",
        "tenant",
        "beginning",
        "request",
        "status",
    ],
)
def test_labels(options: Options, label: Any, source: str) -> None:
    problems = found(instrument(asgi_app(), labels={"what": label, "app": "shop"}, **options))
    if source:
        assert problems == [
            (
                "labels",
                f"the label what is made of {source}: each request makes a series of its own",
            )
        ]
    else:
        assert problems == []


def test_several_findings_at_once() -> None:
    app = fastapi_app()

    @app.get("/{path:path}")
    async def anything(path: str) -> str:
        return path

    checks = [check for check, _ in found(instrument(app, registry=CollectorRegistry()))]
    assert checks == ["open-metrics", "routes"]
