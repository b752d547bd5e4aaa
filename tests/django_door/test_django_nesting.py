"""The Django door below doors of other kinds, and what adapters and dispatchers do between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from wsgiref.util import FileWrapper

import pytest

from asgi.driver import request
from django_door.project import Project
from django_door.views import FILE
from instrumentation.driver import core
from metrics import collected, in_progress, records, value
from prom_middleware import instrument
from prom_middleware.asgi import PrometheusMiddleware as ASGIDoor
from prom_middleware.instrumentation import COMPLETE, INCOMPLETE
from prom_middleware.wsgi import PrometheusMiddleware as WSGIDoor
from prom_middleware.wsgi.place import ENTRANCE
from wsgi_door.driver import call, environ

USER = "/u/<int:id>/"


def dispatched(app: Any) -> Any:
    """Return a dispatcher by rules of its own, which gives `app` a copy of the scope."""

    async def dispatch(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": f"{scope['root_path']}/dj"}, receive, send)

    return dispatch


def starlette(app: Any) -> Any:
    routing = pytest.importorskip("starlette.routing")
    return routing.Router([routing.Mount("/dj", app)])


def a2wsgi(app: Any) -> Any:
    return pytest.importorskip("a2wsgi").WSGIMiddleware(app, workers=1)


def asgiref(app: Any) -> Any:
    return pytest.importorskip("asgiref.wsgi").WsgiToAsgi(app)


def werkzeug(app: Any) -> Any:
    dispatcher = pytest.importorskip("werkzeug.middleware.dispatcher")
    return dispatcher.DispatcherMiddleware(lambda *_: [], {"/dj": app})


def asgi_get(app: Any, path: str, **scope: Any) -> int:
    return request(app, path, **scope).status


def wsgi_get(app: Any, path: str) -> int:
    return call(app, environ("GET", path)).status


# The handler, what stands around it, and the door around that.
NESTED: dict[str, tuple[str, tuple[Callable[[Any], Any], ...], Any, Any]] = {
    "dispatcher": ("asgi", (dispatched,), ASGIDoor, asgi_get),
    "mount": ("asgi", (starlette,), ASGIDoor, asgi_get),
    "dispatcher, a2wsgi": ("wsgi", (a2wsgi, dispatched), ASGIDoor, asgi_get),
    "dispatcher, asgiref": ("wsgi", (asgiref, dispatched), ASGIDoor, asgi_get),
    "mount, a2wsgi": ("wsgi", (a2wsgi, starlette), ASGIDoor, asgi_get),
    "werkzeug": ("wsgi", (werkzeug,), WSGIDoor, wsgi_get),
}
nested = pytest.mark.parametrize("case", NESTED.values(), ids=NESTED.keys())


def below(project: Project, case: Any) -> tuple[Any, Any]:
    _, around, door, get = case
    app = project.handler
    for wrap in around:
        app = wrap(app)
    return door(app, registry=project.registry), get


@nested
def test_what_is_above_is_in_the_route(case: Any) -> None:
    with Project(case[0]) as project:
        door, get = below(project, case)
        assert get(door, "/dj/u/3/") == 200
        assert records(project.registry) == [("GET", f"/dj{USER}", 200, "", "complete")]


@pytest.mark.parametrize("root", ["", "/front"])
def test_the_server_s_own_root_is_not(root: str) -> None:
    with Project("asgi") as project:
        door = ASGIDoor(dispatched(project.handler), registry=project.registry)
        assert asgi_get(door, f"{root}/dj/u/3/", root_path=root) == 200
        assert records(project.registry) == [("GET", f"/dj{USER}", 200, "", "complete")]


def test_an_instrumented_handler_below_a_dispatcher() -> None:
    with Project("asgi", instrument) as project:
        door = ASGIDoor(dispatched(project.handler), registry=project.registry)
        assert asgi_get(door, "/dj/u/3/") == 200
        assert records(project.registry) == [("GET", f"/dj{USER}", 200, "", "complete")]


@pytest.mark.parametrize("door", [instrument, ASGIDoor], ids=["instrument", "door"])
def test_an_event_stream_of_django_is_not_a_latency(door: Any) -> None:
    with Project("asgi", door) as project:
        assert project.fetch("GET", "/events/").status == 200
        samples = collected(project.registry)
        assert value(samples, "http_stream_duration_seconds_count", {"route": "/events/"}) == 1
        assert value(samples, "http_request_duration_seconds_count") == 0


@nested
@pytest.mark.parametrize("path", ["/dj/metrics", "/dj/inner/metrics"])
def test_a_scrape_is_recorded_by_no_door(case: Any, path: str) -> None:
    changes = {"ROOT_URLCONF": "django_door.metrics_urls"}
    with Project(case[0], **changes) as project:
        door, get = below(project, case)
        assert get(door, path) == 200
        assert records(project.registry) == []
        assert value(collected(project.registry), "prom_middleware_scrapes_total") == 1
        assert in_progress(project.registry) == 0


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
@pytest.mark.parametrize(
    ("path", "body", "exception", "outcome"),
    [
        ("/stboom/", b"one", "ValueError", "error"),
        ("/st/", b"onetwo", "", "complete"),
        ("/fr/", FILE, "", "complete"),
        ("/ast/", b"onetwo", "", "complete"),
        ("/astboom/", b"", "ValueError", "error"),
        ("/u/3/", b"3 0", "", "complete"),
    ],
)
def test_a_door_that_does_not_call_django_is_told_what_a_stream_raises(
    path: str, body: bytes, exception: str, outcome: str
) -> None:
    """As Twisted's, below which Django runs in another thread."""
    with Project("wsgi") as project:
        instrumentation = core(project.registry)
        outer = instrumentation.start({}, "GET")
        outer.status = "200"
        more = {instrumentation.key: outer, ENTRANCE: ("", path, "")}
        served = call(project.handler, environ(path=path, **more))
        assert served.body == body
        outer.finish(INCOMPLETE if served.error else COMPLETE)
        [record] = records(project.registry)
        assert record[2:] == (200, exception, outcome)
        assert in_progress(project.registry) == 0


def test_a_file_goes_to_the_server_s_sendfile_below_a_door_that_does_not_call_django() -> None:
    with Project("wsgi") as project:
        instrumentation = core(project.registry)
        more = {instrumentation.key: instrumentation.start({}, "GET"), ENTRANCE: ("", "/fr/", "")}
        request = environ(path="/fr/", **more, **{"wsgi.file_wrapper": FileWrapper})
        assert type(call(project.handler, request).result) is FileWrapper
