"""/metrics as an ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from prom_middleware import failures
from prom_middleware.instrumentation import discard_observations

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prom_middleware.exposition.access import AccessRule, ScrapeRequest
    from prom_middleware.exposition.options import Limits, ScrapeOptions
    from prom_middleware.exposition.responses import Answer

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
    **options: Unpack[ScrapeOptions],
) -> ASGIApp:
    """Return an ASGI application that answers every path with the metrics of `registry`.

    The options are those of `prom_middleware.exposition.ScrapeOptions`. Raises OptionError for
    wrong ones.
    """
    # Imported by the first endpoint that is made, not by the import of a door.
    from prom_middleware.exposition.endpoint import endpoint

    rule, limits = endpoint(registry, access, options, disable_compression)
    return MetricsApp(registry, rule, limits)


class MetricsApp:
    """What `make_asgi_app` returns: no function, since Starlette takes those for views."""

    def __init__(
        self, registry: Collector, access: AccessRule | None, limits: Limits | None = None
    ) -> None:
        # Neither by who imports a door, nor by the first scrape: a process that is forked meanwhile
        # would wait for the import for ever, and without a free descriptor there is none.
        from prom_middleware.exposition.beside import beside
        from prom_middleware.exposition.scraping import Visit

        self._beside, self._begin = beside, Visit
        self._registry = registry
        self.access = access
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a scrape, in a thread: a large registry must not hold up the event loop."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await send_answer(await self._answer(scope), send)

    async def _answer(self, scope: Scope) -> Answer:
        try:
            return await self._visit(scope)
        except Exception as error:
            from prom_middleware.exposition.responses import last_resort

            failures.report("scrape", error)
            return last_resort()

    async def _visit(self, scope: Scope) -> Answer:
        visit = self._begin(self._registry, self._limits, gentle=True)
        answer = partial(visit.answer, partial(scrape_request, scope), self.access)
        try:
            return await self._beside(answer) if visit.admitted else answer()
        except Exception:
            visit.leave()
            raise


def scrape_request(scope: Scope) -> ScrapeRequest:
    """Translate an ASGI scope; https://asgi.readthedocs.io/en/latest/specs/www.html"""
    from prom_middleware.exposition.access import ScrapeRequest

    discard_observations(scope)
    discard_observations(scope.get("wsgi_environ", {}))  # a2wsgi: WSGI doors further out
    client = scope.get("client")
    return ScrapeRequest(
        method=scope["method"],
        path=scope["path"],
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=headers(scope),
        client=client[0] if client else None,
    )


def headers(scope: Scope) -> dict[str, str]:
    """Return the request's headers, names in lower case; lines of one name are joined.

    As WSGI's servers join them; https://www.rfc-editor.org/rfc/rfc9110#section-5.2
    """
    found: dict[str, str] = {}
    for raw, line in scope.get("headers") or ():
        name, value = raw.decode("latin-1").lower(), line.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


async def send_answer(answer: Answer, send: Send) -> None:
    """Send an answer in its parts; the event loop turns in between.

    A client that reads fast never has `send` wait: megabytes would go out in one turn.
    """
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    *parts, last = answer.parts or [b""]
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
        await _give_way()
    await send({"type": "http.response.body", "body": last})


async def _give_way() -> None:
    try:
        from prom_middleware.exposition.beside import give_way

        await give_way()
    except Exception as error:
        failures.report("scrape", error)


async def lifespan(receive: Receive, send: Send) -> None:
    """Answer what a server says of its beginning and end."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
