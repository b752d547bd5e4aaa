"""Faults that were found by looking, each with the smallest case that shows it."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from metrics import collected, in_progress, records, value
from prom_middleware.asgi import PrometheusMiddleware
from prom_middleware.errors import OptionError
from prom_middleware.exposition import ScrapeRequest, scrape, start_http_server
from prom_middleware.instrumentation import Instrumentation
from prom_middleware.wsgi import PrometheusMiddleware as WSGIDoor
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
    give = core.turn.tokens.pop()  # as if another thread were writing
    observation = core.start({}, "GET")
    observation.finish()
    core.turn.pending.rotate()
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
    closer = responses.Closer()
    closer.observation = responses.Handled()
    closer.observation.begin(core, {}, "GET")
    closer.observation.wsgi = True
    stored = pickle.dumps(closer)
    assert b"prom_middleware" not in stored
    assert not pickle.loads(stored)()


def test_a_replaced_event_stream_is_none() -> None:
    registry = CollectorRegistry()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        try:
            raise ValueError
        except ValueError:
            start_response("500 Oh", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"oh"]

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": ""}
    body = WSGIDoor(app, registry=registry)(environ, lambda *_: lambda _: None)  # type: ignore[arg-type]
    assert list(body) == [b"oh"]
    body.close()  # type: ignore[attr-defined]
    samples = collected(registry)
    assert value(samples, "http_request_duration_seconds_count") == 1
    assert value(samples, "http_stream_duration_seconds_count") == 0


def test_an_exception_that_was_answered_is_let_go() -> None:
    registry = CollectorRegistry()
    core = Instrumentation({"registry": registry}, Dialect())
    observation = core.start({}, "GET")
    error = ValueError()
    observation.raised(error)
    observation.status = "500"
    observation.finish()
    observation.failed(error)  # the framework raises it again, after its answer
    assert observation.error is None
    assert value(collected(registry), "http_request_exceptions_total") == 1


def test_programs_that_start_servers_in_processes_have_a_store_for_each() -> None:
    program = (
        "import multiprocessing, uvicorn\n"
        "from prom_middleware.stores.shared import shared_store\n"
        "def serve(queue): queue.put(shared_store() is None)\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('fork')\n"
        "    queue = context.SimpleQueue()\n"
        "    process = context.Process(target=serve, args=(queue,))\n"
        "    process.start()\n"
        "    print(queue.get())\n"
        "    process.join()\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout == "True\n"
