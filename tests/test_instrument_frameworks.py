"""`instrument` given the frameworks' own applications: what comes back, and that it counts."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi import driver as asgi_driver
from metrics import in_progress, records
from prom_middleware import asgi, instrument, wsgi
from wsgi_door import driver as wsgi_driver

HIT = ("GET", "/users/{id}", 200, "", "complete")
FLASK_HIT = ("GET", "/users/<int:id>", 200, "", "complete")
DJANGO_HIT = ("GET", "/u/<int:id>/", 200, "", "complete")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


# --- Starlette and FastAPI, at every moment of an application's life


async def user(request: Any) -> Any:
    from starlette.responses import PlainTextResponse

    return PlainTextResponse("user")


def with_route(app: Any) -> None:
    app.router.add_route("/users/{id}", user)


def with_middleware(app: Any) -> None:
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["testserver"])


def with_request(app: Any) -> None:
    """The first request builds the stack of middleware."""
    asgi_driver.request(app, "/first")


Step = Callable[[Any], object]
MOMENTS: dict[str, tuple[tuple[Step, ...], tuple[Step, ...]]] = {
    "before everything": ((), (with_route, with_middleware)),
    "after the routes": ((with_route,), (with_middleware,)),
    "after the middleware": ((with_middleware,), (with_route,)),
    "after everything": ((with_route, with_middleware), ()),
    "after the first request": ((with_route, with_middleware, with_request), ()),
    "between request and route": ((with_middleware, with_request), (with_route,)),
}


def framework_of(kind: str) -> Any:
    if kind == "FastAPI":
        return pytest.importorskip("fastapi", reason="FastAPI is not installed").FastAPI()
    module = pytest.importorskip("starlette.applications", reason="Starlette is not installed")
    return module.Starlette()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kind", ["Starlette", "FastAPI"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_starlette(kind: str, moment: str, times: int, registry: CollectorRegistry) -> None:
    before, after = MOMENTS[moment]
    app = framework_of(kind)
    for step in before:
        step(app)
    for _ in range(times):
        assert instrument(app, registry=registry) is app
    for step in after:
        step(app)
    assert asgi_driver.request(app, "/users/3").body == b"user"
    assert asgi_driver.request(app, "/metrics").status == 200
    assert records(registry) == [HIT]
    assert in_progress(registry) == 0


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kind", ["Starlette", "FastAPI"])
def test_starlette_is_instrumented_around_its_middleware(
    kind: str, moment: str, registry: CollectorRegistry
) -> None:
    before, after = MOMENTS[moment]
    app = framework_of(kind)
    for step in before:
        step(app)
    instrument(app, registry=registry)
    for step in after:
        step(app)
    foreign = {"headers": {"host": "foreign"}}
    assert asgi_driver.request(app, "/users/3", **foreign).status == 400
    assert asgi_driver.request(app, "/metrics", **foreign).status == 200
    assert records(registry) == [("GET", "/users/{id}", 400, "", "complete")]


def test_a_subclass_of_starlette(registry: CollectorRegistry) -> None:
    applications = pytest.importorskip(
        "starlette.applications", reason="Starlette is not installed"
    )
    derived = type("Application", (applications.Starlette,), {})()
    with_route(derived)
    assert instrument(derived, registry=registry) is derived
    asgi_driver.request(derived, "/users/3")
    assert records(registry) == [HIT]


def answering(kind: type) -> type:
    """Derive a class that answers `/ping` before its stack, and raises at `/broken`."""

    class Answering(kind):  # type: ignore[misc]
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/broken":
                raise ValueError("broken")
            if scope["path"] == "/ping":
                await asgi_driver.ok(scope, receive, send)
            else:
                path = scope["path"].removeprefix("/api")
                await super().__call__({**scope, "path": path}, receive, send)

    return Answering


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", ["Starlette", "FastAPI"])
def test_a_subclass_of_starlette_that_answers_by_itself(
    kind: str, times: int, registry: CollectorRegistry
) -> None:
    app = framework_of(kind)
    app.__class__ = answering(type(app))
    with_route(app)
    for _ in range(times):
        assert instrument(app, registry=registry) is app
    assert asgi_driver.request(app, "/ping", "POST").body == b"ok"
    assert asgi_driver.request(app, "/broken").raised == "ValueError"
    assert asgi_driver.request(app, "/api/users/3").body == b"user"
    assert asgi_driver.request(app, "/api/metrics").status == 200
    assert records(registry) == [
        HIT,
        ("GET", "<unmatched>", 500, "ValueError", "error"),
        ("POST", "<unmatched>", 200, "", "complete"),
    ]
    assert in_progress(registry) == 0


class Tracing:
    """As OpenTelemetry's and logfire's instrumentation of FastAPI: they take the stack apart."""

    def __init__(self, app: Any) -> None:
        self.app, self.build, self.seen = app, app.build_middleware_stack, 0

    def instrument(self) -> None:
        self.app.build_middleware_stack = self.built

    def uninstrument(self) -> None:
        self.app.build_middleware_stack = self.build
        self.app.middleware_stack = self.app.build_middleware_stack()

    def built(self) -> Any:
        from starlette.middleware.errors import ServerErrorMiddleware

        stack = self.build()
        assert type(stack) is ServerErrorMiddleware, "skipped: an unexpected middleware stack"

        async def traced(*arguments: Any) -> None:
            self.seen += 1
            await stack.app(*arguments)

        return ServerErrorMiddleware(traced, handler=stack.handler, debug=stack.debug)


def rebuilt(app: Any) -> None:
    app.middleware_stack = app.build_middleware_stack()


def put_back(app: Any) -> None:
    app.middleware_stack = app.middleware_stack


def forgotten(app: Any) -> None:
    """As who adds middleware to an application that has started."""
    app.middleware_stack = None
    with_middleware(app)


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("traced_first", [False, True])
@pytest.mark.parametrize("kind", ["Starlette", "FastAPI"])
def test_starlette_with_who_takes_its_stack_apart(
    kind: str, traced_first: bool, started: bool, registry: CollectorRegistry
) -> None:
    app = framework_of(kind)
    with_route(app)
    if started:
        with_request(app)
    tracing = Tracing(app)
    if traced_first:
        tracing.instrument()
    instrument(app, registry=registry)
    if not traced_first:
        tracing.build = app.build_middleware_stack
        tracing.instrument()
    if started:
        rebuilt(app)
    asgi_driver.request(app, "/users/3")
    assert tracing.seen == 1
    tracing.uninstrument()
    asgi_driver.request(app, "/users/3")
    assert tracing.seen == 1
    assert records(registry) == [HIT] * 2


@pytest.mark.parametrize("again", [rebuilt, put_back, forgotten])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", ["Starlette", "FastAPI"])
def test_starlette_whose_stack_is_set_again(
    kind: str, times: int, again: Step, registry: CollectorRegistry
) -> None:
    app = framework_of(kind)
    with_route(app)
    with_request(app)
    for _ in range(times):
        instrument(app, registry=registry)
    again(app)
    again(app)
    assert asgi_driver.request(app, "/users/3").body == b"user"
    assert asgi_driver.request(app, "/metrics").status == 200
    assert records(registry) == [HIT]
    stack, doors = app.middleware_stack, 0
    while isinstance(stack, asgi.PrometheusMiddleware):
        stack, doors = stack.app, doors + 1
    assert doors == times


def test_of_two_doors_around_starlette_the_last_is_the_outermost() -> None:
    app, registry = framework_of("Starlette"), CollectorRegistry()
    instrument(app, registry=registry, labels={"door": "first"})
    instrument(app, registry=CollectorRegistry(), labels={"door": "last"})
    with_request(app)
    assert app.middleware_stack._core.config.labels == {"door": "last"}
    assert app.middleware_stack.app._core.config.labels == {"door": "first"}


@pytest.mark.parametrize("kind", ["Starlette", "FastAPI"])
def test_starlette_looks_as_before(kind: str, registry: CollectorRegistry) -> None:
    app = framework_of(kind)
    kind_before, looked = type(app), repr(app)
    instrument(app, registry=registry)
    assert isinstance(app, kind_before)
    assert repr(app) == looked
    after = type(app)
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(after, name) == getattr(kind_before, name)
    assert app.middleware_stack is None
    with_request(app)
    with pytest.raises(RuntimeError, match="after an application has started"):
        with_middleware(app)


def test_a_copy_of_starlette_has_a_stack_of_its_own(registry: CollectorRegistry) -> None:
    app = framework_of("Starlette")
    with_route(app)
    instrument(app, registry=registry)
    other = copy.copy(app)
    for one in (app, other):
        asgi_driver.request(one, "/users/3")
    assert app.middleware_stack.app is not other.middleware_stack.app
    assert records(registry) == [HIT] * 2


def test_starlette_of_a_class_that_refuses_to_be_derived_from(registry: CollectorRegistry) -> None:
    applications = pytest.importorskip(
        "starlette.applications", reason="Starlette is not installed"
    )

    def refuse(cls: type) -> None:
        raise TypeError(f"{cls} is final")

    app = type("Final", (applications.Starlette,), {"__init_subclass__": refuse})()
    with_route(app)
    door = instrument(app, registry=registry)
    assert isinstance(door, asgi.PrometheusMiddleware)
    asgi_driver.request(door, "/users/3")
    assert records(registry) == [HIT]


# --- Flask


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("derived", [False, True])
@pytest.mark.parametrize("late", [False, True], ids=["routes-before", "routes-after"])
def test_flask(times: int, derived: bool, late: bool, registry: CollectorRegistry) -> None:
    flask = pytest.importorskip("flask", reason="Flask is not installed")
    kind = type("Application", (flask.Flask,), {}) if derived else flask.Flask
    app = kind("instrumented", static_folder=None)
    for step in range(2):
        if step == late:
            app.add_url_rule("/users/<int:id>", "user", lambda id: str(id))  # noqa: A006
        else:
            assert all(instrument(app, registry=registry) is app for _ in range(times))
    assert wsgi_driver.call(app, wsgi_driver.environ(path="/users/3")).body == b"3"
    assert wsgi_driver.call(app, wsgi_driver.environ(path="/metrics")).status == 200
    assert records(registry) == [FLASK_HIT]
    assert in_progress(registry) == 0


def test_flask_s_wsgi_application_alone(registry: CollectorRegistry) -> None:
    flask = pytest.importorskip("flask", reason="Flask is not installed")
    app = flask.Flask("instrumented", static_folder=None)
    app.add_url_rule("/users/<int:id>", "user", lambda id: str(id))  # noqa: A006
    served = instrument(app.wsgi_app, registry=registry)
    assert isinstance(served, wsgi.PrometheusMiddleware)
    app.wsgi_app = served
    assert wsgi_driver.call(app, wsgi_driver.environ(path="/users/3")).body == b"3"
    assert records(registry) == [FLASK_HIT]


def test_what_stands_around_flask_s_wsgi_application(registry: CollectorRegistry) -> None:
    flask = pytest.importorskip("flask", reason="Flask is not installed")
    from werkzeug.middleware.proxy_fix import ProxyFix

    app = flask.Flask("instrumented", static_folder=None)
    own, app.wsgi_app = app.wsgi_app, ProxyFix(app.wsgi_app)
    served = instrument(own, registry=registry)
    assert isinstance(app.wsgi_app, ProxyFix)  # not its own any more: it is served by whom we gave
    assert wsgi_driver.call(served, wsgi_driver.environ(path="/")).status == 404
    assert records(registry) == [("GET", "<unmatched>", 404, "", "complete")]


# --- Django

DJANGO = pytest.mark.skipif(find_spec("django") is None, reason="Django is not installed")


@pytest.fixture
def project(request: pytest.FixtureRequest) -> Any:
    """Return a project without a door of its own, under the server that the test names."""
    import django
    from django.conf import settings

    from django_door.settings import CHAIN, PROCESS, PROJECT

    if not settings.configured:
        settings.configure(**PROCESS, **PROJECT)
    django.setup()
    from django_door.project import Project

    with Project(request.param, MIDDLEWARE=CHAIN[1:]) as made:
        yield made


@DJANGO
@pytest.mark.parametrize("project", ["wsgi", "asgi"], indirect=True)
@pytest.mark.parametrize("times", [1, 2])
def test_django(project: Any, times: int, registry: CollectorRegistry) -> None:
    for _ in range(times):
        project.handler = instrument(project.handler, registry=registry)
    door = {"wsgi": wsgi, "asgi": asgi}[project.server].PrometheusMiddleware
    assert isinstance(project.handler, door)
    assert project.fetch("GET", "/u/3/").body == b"3 0"
    assert project.fetch("GET", "/metrics").status == 200
    assert records(registry) == [DJANGO_HIT]
    assert in_progress(registry) == 0


@DJANGO
@pytest.mark.parametrize("project", ["wsgi", "asgi"], indirect=True)
def test_django_s_handler_given_twice(project: Any, registry: CollectorRegistry) -> None:
    """The handler itself, not what came back the first time."""
    handler = project.handler
    instrument(handler, registry=registry)
    project.handler = instrument(handler, registry=registry)
    assert project.fetch("GET", "/u/3/").body == b"3 0"
    assert records(registry) == [DJANGO_HIT]


@DJANGO
@pytest.mark.parametrize("project", ["wsgi"], indirect=True)
def test_django_s_exceptions_are_seen(project: Any, registry: CollectorRegistry) -> None:
    project.handler = instrument(project.handler, registry=registry)
    project.fetch("GET", "/boom/")
    assert records(registry) == [("GET", "/boom/", 500, "ValueError", "complete")]


@DJANGO
@pytest.mark.parametrize("project", ["wsgi", "asgi"], indirect=True)
@pytest.mark.parametrize("layers", [1, 2])
def test_django_s_static_files_handler(
    project: Any, layers: int, registry: CollectorRegistry
) -> None:
    """It stands around the handler that has the routes, and has none itself."""
    from django.contrib.staticfiles import handlers
    from django.test import override_settings

    kinds = {"wsgi": handlers.StaticFilesHandler, "asgi": handlers.ASGIStaticFilesHandler}
    with override_settings(STATIC_URL="/static/"):
        for _ in range(layers):
            project.handler = kinds[project.server](project.handler)
        project.handler = instrument(project.handler, registry=registry)
        assert project.fetch("GET", "/u/3/").body == b"3 0"
        project.fetch("GET", "/boom/")
        assert project.fetch("GET", "/static/nothing").status == 404
    static = ("GET", "<unmatched>", 404, "", "complete")
    assert records(registry) == [
        ("GET", "/boom/", 500, "ValueError", "complete"),
        DJANGO_HIT,
        static,
    ]


@DJANGO
@pytest.mark.parametrize("project", ["wsgi"], indirect=True)
def test_django_s_static_files_handler_around_a_door(
    project: Any, registry: CollectorRegistry
) -> None:
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.test import override_settings

    with override_settings(STATIC_URL="/static/"):
        inner = instrument(project.handler, registry=registry)
        project.handler = instrument(StaticFilesHandler(inner), registry=registry)
        assert project.fetch("GET", "/u/3/").body == b"3 0"
    assert records(registry) == [DJANGO_HIT]


# --- Twisted


def twisted_leaf() -> Any:
    from twisted.web.resource import Resource

    class Leaf(Resource):
        isLeaf = True  # noqa: N815 - the name is Twisted's

        def render_GET(self, request: Any) -> bytes:
            return b"leaf"

    root = Resource()
    root.putChild(b"leaf", Leaf())
    return root


def twisted_interface() -> Any:
    """Return what implements IResource without being derived from Resource."""
    from twisted.web.resource import IResource
    from zope.interface import implementer

    @implementer(IResource)
    class Standing:
        isLeaf = False  # noqa: N815

        def __init__(self) -> None:
            self.root = twisted_leaf()
            self.children = self.root.children

        def getChildWithDefault(self, name: bytes, request: Any) -> Any:
            return self.root.getChildWithDefault(name, request)

        def render(self, request: Any) -> bytes:
            return b""

        def putChild(self, path: bytes, child: Any) -> None:
            self.root.putChild(path, child)

    return Standing()


def twisted_site() -> Any:
    from twisted.web.server import Site

    return Site(twisted_leaf())


TWISTED = {
    "resource": twisted_leaf,
    "interface": twisted_interface,
    "site": twisted_site,
}


def fetch_from(site: Any, path: str) -> bytes:
    """Speak HTTP with a site, without sockets."""
    from twisted.internet.address import IPv4Address
    from twisted.internet.error import ConnectionDone
    from twisted.internet.task import Clock
    from twisted.internet.testing import StringTransport
    from twisted.python.failure import Failure

    site._reactor = site.reactor = Clock()
    transport = StringTransport()
    protocol = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    protocol.makeConnection(transport)
    protocol.dataReceived(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    protocol.connectionLost(Failure(ConnectionDone()))
    answer: bytes = transport.value()
    return answer


@pytest.mark.parametrize("kind", TWISTED)
@pytest.mark.parametrize("times", [1, 2])
def test_twisted(kind: str, times: int, registry: CollectorRegistry) -> None:
    server = pytest.importorskip("twisted.web.server", reason="Twisted is not installed")
    given = TWISTED[kind]()
    site = instrument(given, registry=registry)
    for _ in range(times - 1):
        assert instrument(site, registry=registry) is site
    assert isinstance(site, server.Site)
    assert (site is given) == (kind == "site")
    assert fetch_from(site, "/leaf").endswith(b"leaf")
    assert b"http_requests_total" in fetch_from(site, "/metrics")
    assert records(registry) == [("GET", "/leaf", 200, "", "complete")]
    assert in_progress(registry) == 0


# --- Starlette, more than once, and while it serves


def test_two_registries_count_once_each(registry: CollectorRegistry) -> None:
    other = CollectorRegistry()
    app = framework_of("Starlette")
    with_route(app)
    for one in (registry, other):
        instrument(app, registry=one)
    asgi_driver.request(app, "/users/3")
    assert [records(one) for one in (registry, other)] == [[HIT]] * 2


def test_a_served_application_may_be_instrumented_meanwhile(registry: CollectorRegistry) -> None:
    """Requests that are on their way when the door comes end as they would have."""
    app = framework_of("Starlette")
    with_route(app)
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def waits(request: Any) -> Any:
        arrived.set()
        await go_on.wait()
        return await user(request)

    app.router.add_route("/waits", waits)

    async def main() -> asgi_driver.Answer:
        scope, server = asgi_driver.http_scope("/waits"), asgi_driver.http_server()
        task = asyncio.ensure_future(asgi_driver.exchange(app, scope, server))
        await arrived.wait()
        instrument(app, registry=registry)
        go_on.set()
        return await task

    assert asyncio.run(main()).body == b"user"
    asgi_driver.request(app, "/users/3")
    assert records(registry) == [HIT]
