"""Scrapes without a server."""

from __future__ import annotations

from typing import Any

from prom_middleware.exposition import ScrapeRequest, ScrapeResponse
from prom_middleware.exposition.options import Limits
from prom_middleware.exposition.scraping import scrape


def asked(method: str = "GET", query: str = "", **headers: str) -> ScrapeRequest:
    """Return a request; underscores in the names of headers are hyphens."""
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return ScrapeRequest(method, "/metrics", query, named, "127.0.0.1")


def scraped(registry: Any, query: str = "", **options: Any) -> ScrapeResponse:
    """Return the answer to a GET under the options of an endpoint."""
    return scrape(registry, asked(query=query), None, Limits.from_options(options))
