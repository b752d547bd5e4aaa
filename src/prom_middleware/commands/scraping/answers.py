"""What comes of a scrape in this process: a page, or where it fails."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote

# What a query may have in it (RFC 3986), and what is escaped already.
KEPT = "%:/?[]@!$&'()*+,;="


class ScrapeError(Exception):
    """A scrape that brought nothing, in words that say where it failed."""


class Request(NamedTuple):
    """What is asked for: a path as people read it, and a query as it is in a URL.

    `timeout` is in seconds.
    """

    path: str
    accept: str
    timeout: float
    query: str = ""

    @classmethod
    def of(cls, target: str, accept: str, timeout: float) -> Request:
        """Return a request for the path, and perhaps the query, of a URL."""
        path, _, query = target.partition("?")
        return cls(unquote(path), accept, timeout, quote(query, safe=KEPT))

    @property
    def raw_path(self) -> str:
        """Return the path as it is in a URL."""
        return quote(self.path)


class Page(NamedTuple):
    """An answer, and what else went wrong, if anything did."""

    status: int
    content_type: str
    body: bytes
    trouble: str = ""


def said(error: BaseException) -> str:
    """Return an exception as one line."""
    words = str(error) if isinstance(error, ScrapeError) else f"{type(error).__name__}: {error}"
    return words.partition("\n")[0]
