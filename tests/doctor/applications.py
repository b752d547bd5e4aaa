"""A small application of each kind, and what the doctor finds in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prom_middleware.doctor import Deployment, Finding, examine

ALONE = Deployment()
Options = dict[str, Any]


def found(app: Any) -> list[tuple[str, str]]:
    return [(one.check, one.problem) for one in examine(app, ALONE)]


def only(app: Any, check: str) -> Finding:
    """Return the one finding that there is."""
    (finding,) = examine(app, ALONE)
    assert finding.check == check
    assert finding.remedy
    assert "\n" not in finding.problem + finding.remedy
    return finding


def fastapi_app(**options: Any) -> Any:
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI(**options)

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> int:
        return item_id

    @app.get("/files/{path:path}")
    async def file(path: str) -> str:
        return path

    return app


def starlette_app() -> Any:
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    def page(request: Any) -> PlainTextResponse:
        return PlainTextResponse("page")

    return Starlette(routes=[Route("/pages/{number}", page), Mount("/", Starlette())])


def flask_app() -> Any:
    flask = pytest.importorskip("flask")
    app = flask.Flask("shop")

    @app.get("/items/<int:item_id>")
    def item(item_id: int) -> str:
        return str(item_id)

    return app


def wsgi_app() -> Any:
    def hello(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"hello"]

    return hello


def asgi_app() -> Any:
    async def hello(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    return hello


def twisted_resource() -> Any:
    pytest.importorskip("twisted.web")
    from twisted.web.resource import Resource

    return Resource()


def klein_app() -> Any:
    klein = pytest.importorskip("klein")
    app = klein.Klein()

    @app.route("/items/<int:item_id>")
    def item(request: Any, item_id: int) -> str:
        return str(item_id)

    return app


def klein_resource() -> Any:
    return klein_app().resource()


def twisted_site() -> Any:
    """Return a site whose requests are made by a function."""
    resource = twisted_resource()
    from twisted.web.server import Request, Site

    return Site(resource, requestFactory=lambda *args, **kwargs: Request(*args, **kwargs))


KINDS: dict[str, Callable[[], Any]] = {
    "fastapi": fastapi_app,
    "starlette": starlette_app,
    "flask": flask_app,
    "wsgi": wsgi_app,
    "asgi": asgi_app,
    "twisted": twisted_resource,
    "klein": klein_app,
    "klein resource": klein_resource,
    "site": twisted_site,
}
