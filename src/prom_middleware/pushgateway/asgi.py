"""The gateway as an ASGI application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from prom_middleware.exposition.access import ScrapeRequest
from prom_middleware.exposition.asgi import (
    ASGIApp,
    Receive,
    Scope,
    Send,
    lifespan,
    scrape_request,
    send_answer,
)
from prom_middleware.exposition.responses import Answer, without_body
from prom_middleware.options import is_digits
from prom_middleware.pushgateway.gateway import Gateway
from prom_middleware.pushgateway.options import Setup
from prom_middleware.pushgateway.routing import bad_path, declared_length

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prom_middleware.pushgateway.options import GatewayOptions


def make_asgi_app(**options: Unpack[GatewayOptions]) -> ASGIApp:
    """Return a Pushgateway as an ASGI application, to serve or to mount below a path.

    The options are those of `prom_middleware.pushgateway.GatewayOptions`. One process can have a
    `persistence_file`: give a server one worker. Raises OptionError for wrong options, StorageError
    for a file that cannot be used.
    """
    gateway = Gateway(Setup.from_options(options))
    if gateway.moved_aside:
        logging.getLogger("prom_middleware").warning("pushgateway: %s", gateway.moved_aside)
    return GatewayApp(gateway)


class GatewayApp:
    """What `make_asgi_app` returns."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, in a thread: a large push must not hold up the event loop."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        from prom_middleware.exposition.beside import beside

        request = gateway_request(scope)
        answer = None
        if self.gateway.options.access is not None:  # a rule may take its time
            answer = await beside(partial(self.gateway.refusal, request))
        answer = answer or bad_path(scope.get("raw_path") or b"")
        if answer is None:
            try:
                body = await self._body(request, receive)
            except ConnectionError:
                return
            answer = await beside(partial(self.gateway.answer, request, body))
        answer = without_body(answer, request.method)
        await send_answer(_below(scope.get("root_path", ""), answer), send)

    async def _body(self, request: ScrapeRequest, receive: Receive) -> bytes | None:
        """Return the body, or None where it is too long."""
        if request.method not in ("PUT", "POST"):
            return b""
        limit, body = self.gateway.options.max_body_bytes, bytearray()
        length = request.headers.get("content-length", "")
        if is_digits(length) and declared_length(length, limit) is None:
            return None
        async for part in _chunks(receive):
            body += part
            if len(body) > limit:
                return None
        return bytes(body)


def _below(mount: str, answer: Answer) -> Answer:
    """Return an answer whose paths are those of the server that the gateway is mounted in."""
    mount = quote(mount, errors="surrogateescape")
    headers = [
        (name, mount + value if name == "Location" and value.startswith("/") else value)
        for name, value in answer.headers
    ]
    return answer._replace(headers=headers)


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client has left")
        yield message.get("body", b"")
        more = message.get("more_body", False)


def gateway_request(scope: Scope) -> ScrapeRequest:
    """Translate an ASGI scope; the path is the one below the mount."""
    request = scrape_request(scope)
    raw, root = scope.get("raw_path"), scope.get("root_path", "")
    path = request.path
    if raw is not None:  # a server's own decoding does not keep what is not UTF-8
        path = unquote_to_bytes(raw.partition(b"?")[0]).decode("utf-8", "surrogateescape")
    if root and path.startswith(root):
        path = path[len(root) :] or "/"
    return request._replace(path=path)
