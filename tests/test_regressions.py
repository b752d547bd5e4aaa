"""Faults that were found by looking, each with the smallest case that shows it."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from metrics import in_progress, records
from prom_middleware.asgi import PrometheusMiddleware
from prom_middleware.errors import OptionError
from prom_middleware.exposition import ScrapeRequest, scrape, start_http_server
from prom_middleware.instrumentation import Instrumentation
from prom_middleware.wsgi.middleware import Dialect

REQUEST = ScrapeRequest("GET", "/metrics", "", {}, None)


async def nobody(_: object) -> bool:
    return False


def test_an_asynchronous_access_rule_lets_nobody_in() -> None:
    assert scrape(CollectorRegistry(), REQUEST, nobody).status == 403


def test_a_door_refuses_an_asynchronous_access_rule() -> None:
    with pytest.raises(OptionError, match="access"):
        PrometheusMiddleware(nobody, registry=CollectorRegistry(), access=nobody)  # type: ignore[arg-type]


def test_a_metrics_server_can_start_again_on_its_port() -> None:
    port = 0
    for _ in range(2):
        server, thread = start_http_server(port, "127.0.0.1", CollectorRegistry())
        port = server.server_port
        assert httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).status_code == 200
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_end_may_overtake_the_first_beginning() -> None:
    registry = CollectorRegistry()
    core = Instrumentation({"registry": registry}, Dialect())
    give = core.turn.take()  # as if another thread were writing
    observation = core.start({}, "GET")
    core.turn.pending.rotate()
    core.recorder.finish(observation, ("GET", "/", "200"), 0.1)
    give(give)
    core.turn.drain()
    assert in_progress(registry) == 0


def test_nothing_of_ours_stays_in_the_scope() -> None:
    registry = CollectorRegistry()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(_: object) -> None: ...

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}
    before = set(scope)
    asyncio.run(PrometheusMiddleware(app, registry=registry)(scope, send, send))  # type: ignore[arg-type]
    assert set(scope) == before
    assert len(records(registry)) == 1


def test_a_django_response_can_be_cached() -> None:
    responses = pytest.importorskip("prom_middleware.django.responses")
    core = Instrumentation({"registry": CollectorRegistry()}, Dialect())
    closer = responses.Closer(core.start({}, "GET"), lambda: None, "complete")
    assert pickle.loads(pickle.dumps(closer))() is None
