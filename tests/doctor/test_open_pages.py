"""Pages of metrics among the routes, with and without a door, and what stands before them."""

from __future__ import annotations

from functools import wraps
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry

from doctor.applications import ALONE, Options, asgi_app, flask_app, only, starlette_app, wsgi_app
from prom_middleware import basic_auth, instrument
from prom_middleware.doctor import examine
from prom_middleware.exposition import make_asgi_app, make_wsgi_app

RULE = basic_auth("prometheus", "a long secret")
THEIRS = "that of prometheus_client knows of no access: take prom_middleware."


def places(app: Any) -> dict[str, str]:
    """Return the pages that are open, each with the line that mends it."""
    found = [one for one in examine(app, ALONE) if one.check == "open-metrics"]
    ending = " is open to everybody"
    assert all(one.problem.endswith(ending) and "\n" not in one.remedy for one in found)
    shown = {one.problem.removesuffix(ending): one.remedy for one in found}
    assert len(shown) == len(found)
    return shown


class AuthMiddleware:
    """Middleware as there are many, of ASGI and of WSGI."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, *arguments: Any) -> Any:
        return self.app(*arguments)


class Gzip(AuthMiddleware):
    """Middleware that lets everybody in."""


# Starlette and FastAPI


def mounted(page: Any, path: str = "/metrics") -> Any:
    app = starlette_app()
    from starlette.routing import Mount

    app.router.routes.insert(0, Mount(path, app=page))
    return app


@pytest.mark.parametrize("around", [lambda app: app, Gzip], ids=["bare", "wrapped"])
def test_a_mounted_page_without_a_door(around: Any) -> None:
    shown = places(mounted(around(make_asgi_app(CollectorRegistry()))))
    assert list(shown) == ["/metrics"]
    assert shown["/metrics"].startswith("prom_middleware.exposition.make_asgi_app(access=")
    checks = [one.check for one in examine(mounted(make_asgi_app()), ALONE)]
    assert checks == ["no-door", "open-metrics"]


def test_that_of_prometheus_client_knows_of_no_access() -> None:
    page = prometheus_client.make_asgi_app(CollectorRegistry())
    assert places(mounted(page))["/metrics"].startswith(f"{THEIRS}exposition.make_asgi_app(access=")


def test_mounts_in_mounts(options: Options) -> None:
    inner = mounted(make_asgi_app(options["registry"]))
    app = instrument(mounted(inner, "/admin"), **options)
    assert only(app, "open-metrics").problem == "/admin/metrics is open to everybody"


@pytest.mark.parametrize(
    "page",
    [
        make_asgi_app(access=RULE),
        AuthMiddleware(make_asgi_app()),
        AuthMiddleware(prometheus_client.make_asgi_app()),
    ],
    ids=["access", "login", "login-before-theirs"],
)
def test_a_mounted_page_that_is_not_open(page: Any) -> None:
    assert places(mounted(page)) == {}


def test_a_door_that_answers_before_the_page(options: Options) -> None:
    """It has the path first, with its own rule."""
    app = instrument(mounted(make_asgi_app(options["registry"])), **options)
    assert examine(app, ALONE) == []


# WSGI


@pytest.fixture
def dispatched() -> Any:
    dispatcher = pytest.importorskip("werkzeug.middleware.dispatcher")
    return lambda mounts, app=None: dispatcher.DispatcherMiddleware(app or wsgi_app(), mounts)


def test_a_dispatcher(dispatched: Any) -> None:
    shown = places(dispatched({"/metrics": make_wsgi_app(CollectorRegistry())}))
    assert shown["/metrics"].startswith("prom_middleware.exposition.make_wsgi_app(access=")
    shown = places(dispatched({"/numbers": prometheus_client.make_wsgi_app()}))
    assert shown["/numbers"].startswith(f"{THEIRS}exposition.make_wsgi_app(access=")
    assert places(dispatched({"/metrics": make_wsgi_app(access=RULE)})) == {}
    assert places(dispatched({"/metrics": AuthMiddleware(make_wsgi_app())})) == {}


def test_a_dispatcher_around_flask(dispatched: Any, options: Options) -> None:
    """As the documentation of prometheus_client has it."""
    app = flask_app()
    app.wsgi_app = dispatched({"/metrics": prometheus_client.make_wsgi_app()}, app.wsgi_app)
    assert list(places(app)) == ["/metrics"]


def test_a_dispatcher_in_a_dispatcher(dispatched: Any) -> None:
    inner = dispatched({"/metrics": make_wsgi_app(CollectorRegistry())})
    assert list(places(dispatched({"/a": dispatched({"/b": inner})}))) == ["/a/b/metrics"]


def test_a_dispatcher_that_is_in_itself(dispatched: Any) -> None:
    mounts: dict[str, Any] = {}
    app = dispatched(mounts)
    mounts["/again"] = app
    assert places(app) == {}


def test_a_function_that_hands_requests_on(options: Options) -> None:
    page = make_wsgi_app(options["registry"])

    def dispatch(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/metrics":
            return page(environ, start_response)
        return wsgi_app()(environ, start_response)

    assert list(places(dispatch)) == ["the page of metrics in dispatch"]
    # With a door, which answers /metrics itself, there may be another path.
    assert list(places(instrument(dispatch, **options))) == ["the page of metrics in dispatch"]
    assert places(AuthMiddleware(dispatch)) == {}


def test_a_function_around_another_may_ask_for_a_login() -> None:
    page = make_wsgi_app(CollectorRegistry())

    @wraps(page)
    def dispatch(environ: Any, start_response: Any) -> Any:
        return page(environ, start_response)

    assert places(dispatch) == {}


def test_what_stands_around_the_whole_application() -> None:
    class LoginRequiredMiddleware(AuthMiddleware):
        pass

    class AuthenticationMiddleware(AuthMiddleware):
        """It only looks who somebody is."""

    app = mounted(make_asgi_app())
    assert list(places(AuthenticationMiddleware(app))) == ["/metrics"]
    assert places(LoginRequiredMiddleware(app)) == {}


# Flask


def blueprint(**options: Any) -> Any:
    pytest.importorskip("flask")
    from prom_middleware.flask import metrics_blueprint

    return metrics_blueprint(CollectorRegistry(), **options)


def test_a_blueprint() -> None:
    app = flask_app()
    app.register_blueprint(blueprint(metrics_path="/numbers"))
    app.register_blueprint(blueprint(name="closed", access=RULE), url_prefix="/closed")
    shown = places(app)
    assert list(shown) == ["/numbers"]
    assert "metrics_blueprint takes the same" in shown["/numbers"]


def test_a_blueprint_with_a_hook_of_its_own() -> None:
    app, page = flask_app(), blueprint()
    page.before_request(lambda: None)
    app.register_blueprint(page)
    assert places(app) == {}


def test_a_blueprint_in_one_with_a_hook() -> None:
    flask = pytest.importorskip("flask")
    app = flask_app()
    inner, outer = flask.Blueprint("inner", "shop"), flask.Blueprint("outer", "shop")
    outer.before_request(lambda: None)
    inner.register_blueprint(blueprint())
    outer.register_blueprint(inner)
    app.register_blueprint(outer, url_prefix="/internal")
    assert places(app) == {}


@pytest.mark.parametrize(("name", "is_open"), [("login_required", False), ("log_it", True)])
def test_a_hook_of_the_application(name: str, is_open: bool) -> None:
    def hook() -> None:
        """Do what its name says."""

    hook.__name__ = name
    app = flask_app()
    app.before_request(hook)
    app.register_blueprint(blueprint())
    assert bool(places(app)) is is_open


def test_a_blueprint_behind_a_door(options: Options) -> None:
    app = instrument(flask_app(), **{**options, "metrics_path": None})
    app.register_blueprint(blueprint(), url_prefix="/inside")
    assert only(app, "open-metrics").problem == "/inside/metrics is open to everybody"


# Twisted


def site(**children: Any) -> Any:
    pytest.importorskip("twisted.web")
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    root = inner = Resource()
    root.putChild(b"inner", inner := Resource())
    for name, child in children.items():
        inner.putChild(name.encode(), child)
    return Site(root)


def resource(**options: Any) -> Any:
    pytest.importorskip("twisted.web")
    from prom_middleware.twisted import MetricsResource

    return MetricsResource(CollectorRegistry(), **options)


def test_a_child_of_a_site(options: Options) -> None:
    app = site(metrics=resource(), closed=resource(access=RULE))
    shown = places(app)
    assert list(shown) == ["/inner/metrics"]
    assert shown["/inner/metrics"].startswith("prom_middleware.twisted.MetricsResource(access=")
    assert only(instrument(app, **options), "open-metrics")


def test_the_child_of_prometheus_client() -> None:
    pytest.importorskip("twisted.web")
    from prometheus_client.twisted import MetricsResource

    shown = places(site(metrics=MetricsResource(registry=CollectorRegistry())))
    remedy = shown["/inner/metrics"]
    assert remedy.startswith(f"{THEIRS}exposition.make_wsgi_app(access=")
    assert remedy.endswith("; in Twisted, prom_middleware.twisted.MetricsResource takes the same")


@pytest.mark.parametrize("times", [1, 2])
def test_a_child_that_is_compressed(times: int) -> None:
    wrapped = resource()
    from twisted.web.resource import EncodingResourceWrapper
    from twisted.web.server import GzipEncoderFactory

    for _ in range(times):
        wrapped = EncodingResourceWrapper(wrapped, [GzipEncoderFactory()])
    assert list(places(site(metrics=wrapped))) == ["/inner/metrics"]


def test_a_child_behind_a_login() -> None:
    page = resource()
    from twisted.cred.portal import Portal
    from twisted.web.guard import BasicCredentialFactory, HTTPAuthSessionWrapper

    portal: Any = Portal(page)
    guard = HTTPAuthSessionWrapper(portal, [BasicCredentialFactory("shop")])
    assert places(site(metrics=guard)) == {}


@pytest.mark.parametrize("named", [True, False], ids=["named", "any other"])
def test_a_host_of_its_own(named: bool) -> None:
    page = resource()
    from twisted.web.resource import Resource
    from twisted.web.vhost import NameVirtualHost

    inner, hosts = Resource(), NameVirtualHost()
    inner.putChild(b"metrics", page)
    if named:
        hosts.addHost(b"shop.example", inner)
    else:
        hosts.default = inner
    assert list(places(hosts)) == ["/metrics"]


@pytest.mark.parametrize(
    ("name", "own"), [("original", "photo.jpg"), ("hosts", ["a.example"]), ("children", None)]
)
def test_a_resource_with_attributes_of_its_own(name: str, own: object) -> None:
    page = resource()
    from twisted.web.resource import Resource

    gallery = Resource()
    gallery.putChild(b"metrics", page)
    app = site(gallery=gallery)
    expected = [] if name == "children" else ["/inner/gallery/metrics"]
    setattr(gallery, name, own)
    assert list(places(app)) == expected


def test_an_application_of_wsgi_in_twisted() -> None:
    pytest.importorskip("twisted.web")
    from twisted.internet import reactor
    from twisted.web.wsgi import WSGIResource

    page = WSGIResource(reactor, None, make_wsgi_app(CollectorRegistry()))
    assert list(places(site(metrics=page))) == ["/inner/metrics"]


def test_a_resource_that_is_below_itself() -> None:
    app = site()
    app.resource.putChild(b"again", app.resource)
    assert places(app) == {}


def test_an_asgi_application_has_none() -> None:
    assert places(asgi_app()) == {}
