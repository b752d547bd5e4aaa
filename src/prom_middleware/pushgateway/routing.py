"""Paths and their methods, and short answers in the original's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from posixpath import normpath
from typing import NamedTuple
from urllib.parse import quote

from prom_middleware import failures
from prom_middleware.exposition.access import ScrapeRequest
from prom_middleware.exposition.refusals import SelectorError
from prom_middleware.exposition.responses import PLAIN, Answer, response
from prom_middleware.options import MOST_DIGITS, is_digits
from prom_middleware.pushgateway.bodies.errors import BodyError
from prom_middleware.pushgateway.consistency import InconsistentError
from prom_middleware.pushgateway.durable import StorageError
from prom_middleware.pushgateway.grouping import GroupingError

INCONSISTENT = "pushed metrics are invalid or inconsistent with existing metrics: "
_NO_OCTET = re.compile(rb"%(?![0-9a-fA-F]{2})")
NOSNIFF = ("X-Content-Type-Options", "nosniff")


def declared_length(value: str, limit: int) -> int | None:
    """Return the bytes that a Content-Length declares, None where they are more than `limit`.

    Raises ValueError for what is no number (RFC 9110 section 8.6).
    """
    if not is_digits(value):
        raise ValueError("bad Content-Length")
    digits = value.lstrip("0") or "0"
    return int(digits) if len(digits) <= MOST_DIGITS and int(digits) <= limit else None


class Visit(NamedTuple):
    """A request and what its path says; the body is complete, or None where it is too long."""

    request: ScrapeRequest
    body: bytes | None
    found: re.Match[str]


Handler = Callable[[Visit], Answer]


class Route(NamedTuple):
    """A path below the prefix, and what its methods do; `name` is for the gateway's own metrics."""

    path: re.Pattern[str]
    name: str | None
    methods: Mapping[str, Handler]

    @property
    def allow(self) -> str:
        """Return the methods, for a header."""
        return ", ".join(sorted({*self.methods, "OPTIONS"}))


def route(path: str, name: str | None, **methods: Handler) -> Route:
    """Return a route for paths that match wholly."""
    return Route(re.compile(path), name, methods)


def text(status: int, words: str, *headers: tuple[str, str]) -> Answer:
    """Return an answer as Go's http.Error makes it."""
    body = f"{words}\n".encode(errors="backslashreplace")
    return response(status, PLAIN, NOSNIFF, *headers, parts=[body])


def words(status: int, said: str) -> Answer:
    """Return an answer in words, without the end of a line."""
    return response(status, PLAIN, parts=[said.encode()])


def clean_path(path: str) -> str:
    """Return a path without doubled slashes and dots, as Go's ServeMux has it."""
    if "//" not in path and "/." not in path and path.startswith("/"):
        return path
    clean = normpath("/" + path.lstrip("/"))
    return f"{clean}/" if path.endswith("/") and clean != "/" else clean


def bad_path(raw: bytes) -> Answer | None:
    """Return the answer to a path with a percent sign that no two digits follow (RFC 3986, 2.1)."""
    if _NO_OCTET.search(raw.partition(b"?")[0]) is None:
        return None
    return words(400, "400 Bad Request")


def moved(status: int, path: str, query: str) -> Answer:
    """Send somebody to another path of ours."""
    target = quote(path.encode("utf-8", "surrogateescape"), safe="/:@$&+,;=~")
    # As it came, one byte in each character, but for what may not stand in a header.
    asked = quote(query.encode("latin-1", "replace"), safe="%/?:@!$&'()*+,;=[]~")
    return response(status, ("Location", f"{target}?{asked}" if query else target), parts=[])


def handled(handler: Handler, visit: Visit) -> Answer:
    """Return a handler's answer, or that for what it raises about the request or the disk."""
    try:
        return handler(visit)
    except (GroupingError, SelectorError) as error:
        return text(400, str(error))
    except BodyError as error:
        return text(error.status, str(error))
    except InconsistentError as error:
        return text(400, f"{INCONSISTENT}{error}")
    except StorageError as error:
        failures.report("pushgateway.storage", error)
        return text(503, f"the metrics cannot be stored: {error}")
