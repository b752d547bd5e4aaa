"""Scrapes of an application in this process.

answers.py  what comes of it: a page, or where it fails
wsgi.py     a WSGI application: a call
asgi.py     an ASGI application: its lifespan begins, a call, its lifespan ends
twisted.py  a site or a resource of Twisted: its reactor runs for one request
"""

from __future__ import annotations

from typing import Any

from prom_middleware.applications import is_asgi, is_twisted
from prom_middleware.commands.scraping.answers import Page, Request, ScrapeError

__all__ = ["Page", "Request", "ScrapeError", "scrape_app"]


def scrape_app(app: Any, request: Request) -> Page:
    """Return what an application answers to a GET.

    Raises ScrapeError, which says where it fails, and whatever the application raises.
    """
    if is_twisted(app):
        from prom_middleware.commands.scraping.twisted import scrape_twisted

        return scrape_twisted(app, request)
    if not callable(app):
        raise ScrapeError(
            f"{app!r} is neither an application of ASGI, WSGI or Twisted nor a registry; "
            "serve it, and check its URL"
        )
    if is_asgi(app):
        from prom_middleware.commands.scraping.asgi import scrape_asgi

        return scrape_asgi(app, request)
    from prom_middleware.commands.scraping.wsgi import scrape_wsgi

    return scrape_wsgi(app, request)
