"""A Django project served by a strict server of either kind."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable
from typing import Any

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from prometheus_client import CollectorRegistry

from django_door import views
from django_door.settings import PROJECT
from wsgi_door import driver

HANDLERS: dict[str, Callable[[], Any]] = {
    "wsgi": get_wsgi_application,
    "asgi": get_asgi_application,
}


class Answer:
    """What a client got, and what the server saw raised."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: dict[str, str] = {}
        self.body = b""
        self.error: BaseException | None = None


class Project:
    """A handler made under the given settings, which last as long as the `with` block."""

    def __init__(self, server: str, wrap: Callable[..., Any] | None = None, **changes: Any) -> None:
        self.server = server
        self.registry = CollectorRegistry()
        options = {"registry": self.registry, **changes.pop("PROM_MIDDLEWARE", {})}
        self._override = override_settings(**{**PROJECT, "PROM_MIDDLEWARE": options, **changes})
        self._wrap = wrap

    def __enter__(self) -> Project:
        self._override.enable()
        try:
            self.handler = HANDLERS[self.server]()
            if self._wrap is not None:
                self.handler = self._wrap(self.handler, registry=self.registry)
        except BaseException:
            self._override.disable()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._override.disable()

    def fetch(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        **drive: Any,
    ) -> Answer:
        """Serve one request; `drive` is for the server in question."""
        serve = _wsgi if self.server == "wsgi" else _asgi
        return serve(self.handler, method, path, body, headers or {}, **drive)


def _wsgi(
    handler: Any, method: str, path: str, body: bytes | None, headers: dict[str, str], **drive: Any
) -> Answer:
    more = {f"HTTP_{name.replace('-', '_').upper()}": value for name, value in headers.items()}
    if "HTTP_CONTENT_TYPE" in more:
        more["CONTENT_TYPE"] = more.pop("HTTP_CONTENT_TYPE")
    exchange = driver.call(handler, driver.environ(method, path, body, **more), **drive)
    answer = Answer()
    answer.status, answer.body, answer.error = exchange.status, exchange.body, exchange.error
    answer.headers = exchange.headers if exchange.begun else {}
    return answer


def _asgi(
    handler: Any,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    leaves: str = "",
    version: str = "1.1",
) -> Answer:
    """`leaves`: the client is gone "at-once", "sending", or "waiting" for a view that waits, or
    while the server waits with the "body"; "shutdown": the server itself ends, while a view waits.
    """
    path, _, query = path.partition("?")
    sent = {"host": "testserver", **headers}
    if body is not None and version == "1.1":  # HTTP/2 needs none
        sent["content-length"] = str(len(body))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": version,
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 1234),
        "server": ("testserver", 80),
    }
    views.WAITING.clear()
    answer = Answer()
    try:
        asyncio.run(_serve(handler, scope, body or b"", leaves, answer))
    except BaseException as error:
        answer.error = error
    if answer.error is not None:
        _drop_frames(answer.error)
    return answer


def _drop_frames(error: BaseException | None) -> None:
    """Let go of what Django does not close where its handler raises: the file of the body."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        while error is not None:
            error.__traceback__ = None
            error = error.__context__
        gc.collect()


async def _serve(handler: Any, scope: Any, body: bytes, leaves: str, answer: Answer) -> None:
    requests = [] if leaves == "at-once" else [{"type": "http.request", "body": body}]

    async def receive() -> dict[str, Any]:
        if requests:
            return requests.pop()
        if leaves in ("waiting", "body"):
            await _waiting()
        elif leaves != "at-once":
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            headers = [(name.decode(), value.decode()) for name, value in message["headers"]]
            answer.headers = {name.lower(): value for name, value in headers}
        elif leaves == "sending":
            raise OSError("the client is gone")
        elif leaves == "body":
            views.WAITING.set()
            await asyncio.sleep(30)
        else:
            answer.body += message.get("body", b"")

    task = asyncio.ensure_future(handler(scope, receive, send))
    if leaves == "shutdown":
        await _waiting()
        task.cancel()
    await task


async def _waiting() -> None:
    while not views.WAITING.is_set():
        await asyncio.sleep(0.01)
