"""A scrape of a WSGI application."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults

from prom_middleware.commands.scraping.answers import Page, Request, ScrapeError


def scrape_wsgi(app: Callable[..., Any], request: Request) -> Page:
    """Return what a WSGI application answers (PEP 3333); it takes its time."""
    path = request.path.decode("latin-1")  # PEP 3333: bytes, as text
    environ: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": request.query}
    environ |= {"HTTP_ACCEPT": request.accept, "REMOTE_ADDR": "127.0.0.1"}
    environ["wsgi.errors"] = io.StringIO()
    setup_testing_defaults(environ)
    started: list[tuple[str, dict[str, str]]] = []
    written: list[bytes] = []

    def start_response(line: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
        started[:] = [(line, {name.lower(): value for name, value in headers})]
        return written.append

    body: Iterable[bytes] = app(environ, start_response)
    try:
        written.extend(body)
    finally:
        getattr(body, "close", lambda: None)()
    if not started:
        raise ScrapeError(f"{request.target}: it has started no response")
    ((line, headers),) = started
    return Page(int(line.split()[0]), headers.get("content-type", ""), b"".join(written))
