"""/metrics as an ASGI application."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from prom_middleware.instrumentation import discard_observations

if TYPE_CHECKING:
    from prom_middleware.exposition.access import AccessRule, ScrapeRequest
    from prom_middleware.exposition.scraping import ScrapeResponse

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def make_asgi_app(
    registry: Collector = REGISTRY,
    disable_compression: bool = False,
    *,
    access: AccessRule | None = None,
) -> ASGIApp:
    """Return an ASGI application that answers every path with the metrics of `registry`.

    Nothing is compressed yet; `disable_compression` is there as in `prometheus_client`.
    """
    return MetricsApp(registry, access)


class MetricsApp:
    """What `make_asgi_app` returns: no function, since Starlette takes those for views."""

    def __init__(self, registry: Collector, access: AccessRule | None) -> None:
        self._registry = registry
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a scrape, in a thread: a large registry must not hold up the event loop."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
        else:
            from prom_middleware.exposition.scraping import answer  # a scrape waits, not a door

            scraping = partial(answer, self._registry, partial(scrape_request, scope), self._access)
            loop = _running_loop()
            response = scraping() if loop is None else await loop.run_in_executor(None, scraping)
            await _send(response, send)


def _running_loop() -> Any:
    # Imported by whoever runs a loop; elsewhere (trio) there is no thread to be had this way.
    try:
        return sys.modules["asyncio"].get_running_loop()
    except Exception:
        return None


def scrape_request(scope: Scope) -> ScrapeRequest:
    """Translate an ASGI scope; https://asgi.readthedocs.io/en/latest/specs/www.html"""
    from prom_middleware.exposition.access import ScrapeRequest

    discard_observations(scope)
    client = scope.get("client")
    return ScrapeRequest(
        method=scope["method"],
        path=scope["path"],
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=headers(scope),
        client=client[0] if client else None,
    )


def headers(scope: Scope) -> dict[str, str]:
    """Return the request's headers, names in lower case, the first of each name."""
    pairs = reversed(list(scope.get("headers") or ()))
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}


async def _send(response: ScrapeResponse, send: Send) -> None:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    await send({"type": "http.response.body", "body": response.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
