"""Mounted applications whose routes are of another framework's kind, or cannot be seen at all."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from asgi.driver import check, ok, request
from asgi.starlette_app import hello
from prom_middleware import failures, instrument

GET = "GET"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


# Other frameworks.


class LikeLitestar:
    """As litestar.Litestar: its `routes` have a `path_format`, and no endpoint."""

    class HTTPRoute:
        path, path_format, methods = "/books/{id:int}", "/books/{id}", {"GET"}

    def __init__(self) -> None:
        self.routes = [self.HTTPRoute()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await ok(scope, receive, send)


class ByMethod(LikeLitestar):
    """Its `routes` is a method."""

    def routes(self) -> list[Any]:  # type: ignore[override]
        return []

    def __init__(self) -> None:
        pass


class Unlike(LikeLitestar):
    """Its routes have all the names, and other things under them."""

    class HTTPRoute:
        path_format, path_regex, endpoint = "/books/{id}", "/books/.*", ok


class Raising(LikeLitestar):
    """Its `routes` are not for everybody."""

    @property
    def routes(self) -> list[Any]:  # type: ignore[override]
        raise RuntimeError("not outside of a request")

    def __init__(self) -> None:
        pass


FOREIGN = [(LikeLitestar, 0), (ByMethod, 0), (Unlike, 1), (Raising, 1)]


@pytest.mark.parametrize(("foreign", "failing"), FOREIGN)
def test_another_framework_s_routes_take_nothing_from_ours(
    registry: CollectorRegistry, foreign: type[LikeLitestar], failing: int
) -> None:
    mounts = [Mount("/lit", foreign()), Mount("/ours", routes=[Route("/y", hello)])]
    app = instrument(Starlette(routes=[Route("/x/{a}", hello), *mounts]), registry=registry)
    before = failures.counts().get("route", 0)
    for target in ("/x/1", "/ours/y", "/x/2"):
        assert request(app, target, failing=True).status == 200
    routes = ("/ours/y", "/x/{a}", "/x/{a}")
    check(registry, [(GET, route, 200, "", "complete") for route in routes])
    assert failures.counts().get("route", 0) - before == failing


@pytest.mark.parametrize("foreign", [LikeLitestar, ByMethod, Unlike])
def test_another_framework_is_named_by_its_mount(
    registry: CollectorRegistry, foreign: type[LikeLitestar]
) -> None:
    app = instrument(Starlette(routes=[Mount("/lit", foreign())]), registry=registry)
    request(app, "/lit/books/1", failing=True)
    check(registry, [(GET, "/lit/{path}", 200, "", "complete")])


def test_another_framework_s_routes_are_no_failure(registry: CollectorRegistry) -> None:
    request(instrument(LikeLitestar(), registry=registry), "/books/1")
    check(registry, [(GET, "<unmatched>", 200, "", "complete")])
