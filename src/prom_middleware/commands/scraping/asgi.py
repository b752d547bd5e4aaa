"""A scrape of an ASGI application, whose lifespan begins before it and ends after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from prom_middleware.commands.scraping.answers import Page, Request, ScrapeError, said

VERSIONS = {"version": "3.0", "spec_version": "2.4"}
ENDED = "ended"

App = Callable[..., Awaitable[Any]]
Result = TypeVar("Result")


def scrape_asgi(app: App, request: Request) -> Page:
    """Return what an ASGI application answers.

    Its beginning, the answer and its end have `request.timeout` each.
    """
    return asyncio.run(_scrape(app, request))


async def _scrape(app: App, request: Request) -> Page:
    lifespan = Lifespan(app, request.timeout)
    await lifespan.begin()
    try:
        call = _Call(request, lifespan.state)
        what = f"{request.target}: no answer"
        page = await _within(request.timeout, what, call.of(app))
    except Exception as error:
        trouble = await lifespan.end() or lifespan.unsupported
        if trouble:
            raise ScrapeError(f"{said(error)} ({trouble})") from error
        raise
    return page._replace(trouble=await lifespan.end())


async def _within(seconds: float, what: str, steps: Awaitable[Result]) -> Result:
    task = asyncio.ensure_future(steps)
    try:
        return await asyncio.wait_for(task, seconds)
    except asyncio.TimeoutError as error:
        if not task.cancelled():  # the application's own
            raise
        raise ScrapeError(f"{what} within {seconds:g} seconds") from error


class Lifespan:
    """The beginning and the end of an application, as a server tells it of them.

    An application that raises or returns has none, as servers see it; `unsupported` says why.
    https://asgi.readthedocs.io/en/latest/specs/lifespan.html
    """

    def __init__(self, app: App, seconds: float) -> None:
        self.state: dict[str, Any] = {}
        self.unsupported = ""
        self._app = app
        self._seconds = seconds
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Have the application begin; raise ScrapeError where it says that it cannot."""
        # In a task of its own to the end: what is opened in one is closed in the same.
        self._task = asyncio.create_task(self._run())
        answer = await self._tell("startup", "its lifespan does not begin")
        if answer["type"] == "lifespan.startup.failed":
            raise ScrapeError(f"its lifespan fails when it begins: {_last_line(answer)}")
        if answer["type"] == ENDED:
            self._task, self.unsupported = None, answer["message"]

    async def end(self) -> str:
        """Have it end; return what went wrong, if anything did."""
        if self._task is None:
            return ""
        try:
            answer = await self._tell("shutdown", "its lifespan does not end")
        except ScrapeError as error:
            return str(error)
        if answer["type"] == "lifespan.shutdown.failed":
            return f"its lifespan fails when it ends: {_last_line(answer)}"
        return str(answer.get("message", ""))

    async def _tell(self, what: str, otherwise: str) -> dict[str, Any]:
        self._told.put_nowait({"type": f"lifespan.{what}"})
        return await _within(self._seconds, otherwise, self._answers.get())

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": VERSIONS, "state": self.state}
        message = ""
        try:
            await self._app(scope, self._told.get, self._answers.put)
        except (Exception, SystemExit) as error:
            message = f"its lifespan has ended with {said(error)}"
        self._answers.put_nowait({"type": ENDED, "message": message})


def _last_line(answer: dict[str, Any]) -> str:
    """Return what it says: Starlette has a whole traceback in the message."""
    lines = answer.get("message", "").strip().splitlines()
    return lines[-1] if lines else "it does not say why"


class _Call:
    """One request, and what is sent to answer it."""

    def __init__(self, request: Request, state: dict[str, Any]) -> None:
        self._request = request
        self._state = state
        self._started: dict[str, Any] = {}
        self._body: list[bytes] = []
        self._requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def of(self, app: App) -> Page:
        try:
            await app(self._scope(), self._receive, self._send)
        except SystemExit as error:
            raise ScrapeError(said(error)) from error  # asyncio would not leave it in its task
        if not self._started:
            raise ScrapeError(f"{self._request.target}: it has started no response")
        headers = {bytes(name).lower(): value for name, value in self._started.get("headers", ())}
        content_type = bytes(headers.get(b"content-type", b"")).decode("latin-1")
        return Page(self._started["status"], content_type, b"".join(self._body))

    async def _receive(self) -> dict[str, Any]:
        if not self._requests:
            await asyncio.Event().wait()  # nobody leaves before the answer
        return self._requests.pop()

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._started = message
        elif message["type"] == "http.response.body":
            self._body.append(message.get("body", b""))

    def _scope(self) -> dict[str, Any]:
        request = self._request
        return {
            "type": "http",
            "asgi": VERSIONS,
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": request.path.decode("utf-8", "replace"),
            "raw_path": request.raw_path.encode(),
            "query_string": request.query.encode(),
            "root_path": "",
            "headers": [(b"host", b"127.0.0.1"), (b"accept", request.accept.encode())],
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", 80),
            "state": dict(self._state),
        }
