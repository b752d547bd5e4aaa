"""An application whose /metrics is abused: `python abused_app.py KIND PORT`.

/ answers at once, /threads with the number of threads. The registry has 5,000 series, a collector
that hangs, one that raises and one that gives garbage.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily

from prom_middleware import instrument
from prom_middleware.exposition import start_http_server


class Hangs:
    def collect(self) -> Any:
        threading.Event().wait()


class Raises:
    def collect(self) -> Any:
        raise RuntimeError("no metrics today")


class Garbage:
    def collect(self) -> Any:
        family = GaugeMetricFamily("garbage", "Garbage.", labels=["n"])
        family.add_metric(["1"], 1)
        family.add_metric(["1"], 2)
        yield family
        yield "garbage"


def registry_of_abuse() -> CollectorRegistry:
    registry = CollectorRegistry()
    gauge = Gauge("mine", "Mine.", ["n"], registry=registry)
    for number in range(5000):
        gauge.labels(f"{number:020b}".replace("0", "a").replace("1", "b")).set(number)
    for collector in (Hangs(), Raises(), Garbage()):
        registry.register(collector)
    return registry


def _body(path: str) -> bytes:
    return b"%d" % threading.active_count() if path == "/threads" else b"hello"


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": _body(scope["path"])})


def serve_uvicorn(registry: CollectorRegistry, port: int) -> None:
    import uvicorn

    app = instrument(asgi_app, registry=registry)
    uvicorn.run(app, port=port, log_level="error", lifespan="off", backlog=1024)


def serve_twisted(registry: CollectorRegistry, port: int) -> None:
    from twisted.internet import reactor
    from twisted.web.resource import Resource

    class Everything(Resource):
        isLeaf = True  # noqa: N815 - Twisted's own name

        def render_GET(self, request: Any) -> bytes:
            return _body(request.path.decode())

    site = instrument(Everything(), registry=registry)
    reactor.listenTCP(port, site, backlog=1024, interface="127.0.0.1")
    reactor.run()


def serve_alone(registry: CollectorRegistry, port: int) -> None:
    _, thread = start_http_server(port, "127.0.0.1", registry=registry)
    thread.join()


KINDS = {"uvicorn": serve_uvicorn, "twisted": serve_twisted, "alone": serve_alone}

if __name__ == "__main__":
    KINDS[sys.argv[1]](registry_of_abuse(), int(sys.argv[2]))
