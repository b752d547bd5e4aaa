"""What each extra makes possible, where nothing else is installed: `python extras.py flask ...`.

A program, for the empty environments of `nox -s extras`: it needs no pytest.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen
from wsgiref.util import setup_testing_defaults

from prometheus_client import CollectorRegistry, Counter, generate_latest

from prom_middleware import instrument
from prom_middleware.exposition import start_http_server

REQUESTED = 'http_requests_total{method="GET",route="%s",status="200"} 1'


def through_wsgi(app: Any, path: str, **headers: str) -> bytes:
    environ = {"PATH_INFO": path, **{f"HTTP_{name}": value for name, value in headers.items()}}
    setup_testing_defaults(environ)
    body = app(environ, lambda status, headers, exc_info=None: lambda data: None)
    try:
        return b"".join(body)
    finally:
        getattr(body, "close", lambda: None)()


def through_asgi(app: Any, path: str) -> bytes:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
    scope |= {"query_string": b"", "http_version": "1.1", "scheme": "http", "asgi": {}}
    asyncio.run(app(scope, receive, send))
    return b"".join(message.get("body", b"") for message in sent)


def counts(call: Callable[[Any, str], bytes], app: Any, route: str = "/users/{name}") -> None:
    assert call(app, "/users/3") == b"3"
    page = call(app, "/metrics").decode()
    assert REQUESTED % route in page, page


def none() -> None:
    def hello(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"3"]

    async def ahello(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"3"})

    counts(through_wsgi, instrument(hello, registry=CollectorRegistry()), "<unmatched>")
    counts(through_asgi, instrument(ahello, registry=CollectorRegistry()), "<unmatched>")


def starlette() -> None:
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    async def user(request: Any) -> Response:
        return Response(request.path_params["name"])

    counts(through_asgi, instrument(Starlette(routes=[Route("/users/{name}", user)])))


def fastapi() -> None:
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/users/{name}")
    async def user(name: int) -> int:
        return name

    counts(through_asgi, instrument(app, registry=CollectorRegistry()))


def flask() -> None:
    from flask import Flask

    from prom_middleware.flask import Prometheus

    app = Flask(__name__)
    Prometheus(app, registry=CollectorRegistry())
    app.get("/users/<name>")(lambda name: name)
    counts(through_wsgi, app, "/users/<name>")


def django() -> None:
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path

    settings.configure(
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["prom_middleware.django"],
        ROOT_URLCONF=(path("users/<name>", lambda request, name: HttpResponse(name)),),
        PROM_MIDDLEWARE={"registry": CollectorRegistry()},
    )
    django.setup()
    counts(through_wsgi, get_wsgi_application(), "/users/<name>")


def twisted() -> None:
    from twisted.internet import reactor, threads
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    class Users(Resource):
        def render_GET(self, request: Any) -> bytes:
            return b"3"

    users, root = Users(), Resource()
    users.isLeaf = True
    root.putChild(b"users", users)
    loop: Any = reactor
    site = instrument(Site(root), registry=CollectorRegistry())
    port = loop.listenTCP(0, site, interface="127.0.0.1").getHost().port
    fetched = threads.deferToThread(
        counts, lambda app, path: answer(f"http://127.0.0.1:{port}{path}")[1], None, "/users/{path}"
    )
    failures: list[Any] = []
    fetched.addErrback(failures.append).addBoth(lambda _: loop.stop())
    loop.run()
    assert not failures, failures


def zstd() -> None:
    from prom_middleware.exposition import make_wsgi_app

    page = through_wsgi(make_wsgi_app(counted()), "/metrics", ACCEPT_ENCODING="zstd")
    assert page.startswith(b"\x28\xb5\x2f\xfd"), page  # RFC 8878 section 3.1.1


def snappy() -> None:
    from prom_middleware.push.payload import compressed
    from prom_middleware.pushgateway.bodies.codings import undo

    page = generate_latest(counted())
    assert undo(compressed(page, "snappy"), "snappy", len(page)) == page


def web_config() -> None:
    import bcrypt

    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "web.yml")
        file.write_text(f"basic_auth_users: {{joe: '{hashed}'}}\n")
        server, thread = start_http_server(
            0, addr="127.0.0.1", registry=counted(), web_config_file=str(file)
        )
        try:
            assert answer(f"http://127.0.0.1:{server.server_port}/metrics")[0] == 401
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def otlp() -> None:
    from opentelemetry.sdk.metrics import MeterProvider

    from prom_middleware.bridge import Bridge, OpenTelemetryReader

    registry = CollectorRegistry()
    meters = MeterProvider([OpenTelemetryReader(registry)])
    meters.get_meter("shop").create_counter("jobs").add(1)
    assert b"jobs_total" in generate_latest(registry)
    assert Bridge("otlp+http://127.0.0.1:9/v1/metrics", registry)


def mapping() -> None:
    from prom_middleware.bridge import load_mapping

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "statsd.yml")
        file.write_text('mappings: [{match: "shop.*", name: "shop", labels: {item: "$1"}}]')
        assert load_mapping(file)


def counted() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("jobs", "Jobs.", registry=registry).inc()
    return registry


def answer(url: str) -> tuple[int, bytes]:
    try:
        with urlopen(url, timeout=10) as response:
            return response.status, response.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


CHECKS: dict[str, Callable[[], None]] = {
    "none": none,
    "starlette": starlette,
    "fastapi": fastapi,
    "flask": flask,
    "django": django,
    "twisted": twisted,
    "zstd": zstd,
    "snappy": snappy,
    "web-config": web_config,
    "otlp": otlp,
    "mapping": mapping,
}

if __name__ == "__main__":
    for extra in sys.argv[1:]:
        CHECKS[extra]()
        print(f"{extra}: works")
