"""The Django door below a mount: Django writes its own words for the path into the environ."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from asgi.driver import request
from django_door.project import Project
from metrics import collected, in_progress, records, value
from prom_middleware.asgi import PrometheusMiddleware as ASGIDoor
from prom_middleware.instrumentation.nesting import MOST_PREFIXES
from prom_middleware.wsgi import PrometheusMiddleware as WSGIDoor
from wsgi_door.driver import call, environ

USER = "/u/<int:id>/"


def native(path: str) -> str:
    """Return a path as PEP 3333 has it in the environ."""
    return path.encode().decode("latin-1")


def werkzeug(app: Any, mount: str, registry: Any) -> Any:
    dispatcher = pytest.importorskip("werkzeug.middleware.dispatcher")
    mounted = dispatcher.DispatcherMiddleware(lambda *_: [], {native(mount): app})
    return WSGIDoor(mounted, registry=registry)


def a2wsgi(app: Any, mount: str, registry: Any) -> Any:
    adapter = pytest.importorskip("a2wsgi").WSGIMiddleware(app, workers=1)

    async def dispatch(scope: Any, receive: Any, send: Any) -> None:
        await adapter({**scope, "root_path": mount}, receive, send)

    return ASGIDoor(dispatch, registry=registry)


OUTER = {
    "werkzeug": (werkzeug, lambda app, path: call(app, environ("GET", native(path)))),
    "a2wsgi": (a2wsgi, request),
}


@pytest.mark.parametrize(("wrap", "get"), OUTER.values(), ids=OUTER)
@pytest.mark.parametrize("mount", ["/dj", "/é", "/日本"])
@pytest.mark.parametrize(("path", "route"), [("", "/"), ("/", "/"), ("/u/3/", USER)])
def test_a_mount_is_in_the_route_and_the_request_counts_once(
    wrap: Any, get: Any, mount: str, path: str, route: str
) -> None:
    with Project("wsgi") as project:
        app = wrap(project.handler, mount, project.registry)
        assert get(app, mount + path).status == 200
        assert records(project.registry) == [("GET", mount + route, 200, "", "complete")]
        assert in_progress(project.registry) == 0


@pytest.mark.parametrize("path", ["/é/", "/日本/"])
def test_the_facts_have_the_path_that_was_asked_for(path: str) -> None:
    told: list[str] = []

    def fact(facts: Any) -> str:
        told.append(facts.path)
        return "told"

    options: dict[str, Any] = {"labels": {"fact": fact}}
    door = partial(WSGIDoor, **options)
    with Project("wsgi", door, PROM_MIDDLEWARE=options) as project:
        call(project.handler, environ("GET", native(path)))
        assert told == [path]
        assert value(collected(project.registry), "http_requests_total", {"fact": "told"}) == 1


def test_tenants_that_clients_invent_are_not_all_in_the_route() -> None:
    with Project("asgi") as project:

        async def tenants(scope: Any, receive: Any, send: Any) -> None:
            first = "/" + scope["path"].split("/")[1]
            await project.handler({**scope, "root_path": first}, receive, send)

        app = ASGIDoor(tenants, registry=project.registry)
        for number in range(MOST_PREFIXES + 3):
            request(app, f"/tenant-{number}/u/3/")
        routes = [route for _, route, *_ in records(project.registry)]
        assert len(set(routes)) == MOST_PREFIXES + 1
        assert routes.count("/{path}" + USER) == 3
