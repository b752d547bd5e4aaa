"""What comes of a scrape in this process: a page, or where it fails."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

# What a path or a query may have in it (RFC 3986), and what is escaped already.
KEPT = "%:/?[]@!$&'()*+,;="


class ScrapeError(Exception):
    """A scrape that brought nothing, in words that say where it failed."""


class Request(NamedTuple):
    """What is asked for: the path, and perhaps a query, of a URL; `timeout` is in seconds."""

    target: str
    accept: str
    timeout: float

    @property
    def raw_path(self) -> str:
        """Return the path as it is sent."""
        return quote(self.target.partition("?")[0], safe=KEPT)

    @property
    def path(self) -> bytes:
        """Return the path without escapes."""
        return unquote_to_bytes(self.raw_path)

    @property
    def query(self) -> str:
        """Return the query as it is sent."""
        return quote(self.target.partition("?")[2], safe=KEPT)


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
