"""A scrape of a Twisted site: on a free port of 127.0.0.1, while one request lasts.

A resource may answer later, or in a thread, and for both it needs the reactor. That runs once in a
process.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as running
from twisted.internet.defer import ensureDeferred
from twisted.internet.error import ReactorNotRestartable
from twisted.python.failure import Failure
from twisted.web.client import Agent, readBody
from twisted.web.http_headers import Headers
from twisted.web.server import Site

from prom_middleware.applications import is_klein
from prom_middleware.commands.scraping.answers import Page, Request, ScrapeError, said

# Which one it is depends on the platform, and on what the application has installed.
reactor: Any = running


def scrape_twisted(app: Any, request: Request) -> Page:
    """Return what a `Site`, a resource or a Klein application answers."""
    site = _site_of(app)
    found: list[Page | Failure | None] = []
    reactor.callWhenRunning(_begin, site, request, found)
    reactor.addSystemEventTrigger("before", "shutdown", _interrupted, found)
    try:
        reactor.run()
    except ReactorNotRestartable as error:
        raise ScrapeError("Twisted's reactor has run in this process already") from error
    if found[0] is None:  # the reactor has taken the signal for itself
        raise KeyboardInterrupt(getattr(reactor, "_exitSignal", None))
    return _page(found[0], request)


def _site_of(app: Any) -> Site:
    if isinstance(app, Site):
        return app
    return Site(app.resource() if is_klein(app) else app)


def _begin(site: Site, request: Request, found: list[Page | Failure | None]) -> None:
    asked = ensureDeferred(_ask(site, request))
    asked.addTimeout(request.timeout, reactor, lambda *_: Failure(_too_late(request)))
    asked.addBoth(_done, found)


def _done(result: Page | Failure, found: list[Page | Failure | None]) -> None:
    if not found:  # else the reactor is stopping, which is why the request has failed
        found.append(result)
        reactor.stop()


def _interrupted(found: list[Page | Failure | None]) -> None:
    if not found:
        found.append(None)


async def _ask(site: Site, request: Request) -> Page:
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    try:
        query = f"?{request.query}" if request.query else ""
        url = f"http://127.0.0.1:{port.getHost().port}{request.raw_path}{query}"
        headers = Headers({"Accept": [request.accept], "Connection": ["close"]})
        answer = await Agent(reactor).request(b"GET", url.encode(), headers)
        body = await readBody(answer)
        types = answer.headers.getRawHeaders("Content-Type", [""])
        return Page(answer.code, types[0], body)
    finally:
        await port.stopListening()


def _too_late(request: Request) -> ScrapeError:
    return ScrapeError(f"{request.target}: no answer within {request.timeout:g} seconds")


def _page(found: Page | Failure, request: Request) -> Page:
    if isinstance(found, Page):
        return found
    if found.check(ScrapeError):
        raise found.value
    raise ScrapeError(f"{request.target}: {said(found.value)}")
