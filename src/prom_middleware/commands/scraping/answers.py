"""What comes of a scrape in this process: a page, or where it fails."""

from __future__ import annotations

from typing import NamedTuple


class ScrapeError(Exception):
    """A scrape that brought nothing, in words that say where it failed."""


class Request(NamedTuple):
    """What is asked for; `timeout` is in seconds."""

    path: str
    accept: str
    timeout: float


class Page(NamedTuple):
    """An answer, and what else went wrong, if anything did."""

    status: int
    content_type: str
    body: bytes
    trouble: str = ""


def said(error: BaseException) -> str:
    """Return an exception as one line."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]
