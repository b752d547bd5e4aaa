"""Websockets over ASGI: what the messages say of a connection."""

from __future__ import annotations

from typing import Any

from prom_middleware import failures
from prom_middleware.exposition.asgi import ASGIApp, Message, Receive, Scope, Send
from prom_middleware.instrumentation import Connection

# RFC 6455 section 7.4.1; the defaults of the ASGI specification.
NORMAL = 1000
NO_STATUS = 1005


async def observe_websocket(
    app: ASGIApp, connection: Connection, scope: Scope, receive: Receive, send: Send
) -> None:
    """Run `app` and tell `connection` what passes."""

    async def observed_receive() -> Message:
        message = await receive()
        try:
            received(connection, message)
        except Exception as error:
            failures.report("receive", error)
        return message

    async def observed_send(message: Message) -> None:
        try:
            if message["type"] == "websocket.close":
                connection.closing(_code(message, NORMAL))
        except Exception as error:
            failures.report("send", error)
        try:
            await send(message)
        except BaseException:
            connection.closing(None)
            raise
        try:
            sent(connection, message)
        except Exception as error:
            failures.report("send", error)

    try:
        await app(scope, observed_receive, observed_send)
    except BaseException:
        _end(connection.failed)
        raise
    _end(connection.finish)


def received(connection: Connection, message: Message) -> None:
    """Note what the application received."""
    if message["type"] == "websocket.receive":
        connection.message("received")
    elif message["type"] == "websocket.disconnect":
        connection.lost(_code(message, NO_STATUS))


def sent(connection: Connection, message: Message) -> None:
    """Note what the application sent."""
    kind = message["type"]
    if kind == "websocket.send":
        connection.message("sent")
    elif kind == "websocket.accept":
        connection.accepted()
    elif kind == "websocket.close":
        connection.closed(_code(message, NORMAL))
    elif kind == "websocket.http.response.start":
        connection.refused(message["status"])


def _code(message: Message, default: int) -> int:
    code = message.get("code")
    return default if code is None else int(code)


def _end(record: Any) -> None:
    try:
        record()
    except Exception as error:
        failures.report("finish", error)
