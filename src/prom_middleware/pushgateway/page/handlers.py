"""What the page's paths do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from urllib.parse import parse_qs

from prom_middleware.exposition.access import ScrapeRequest
from prom_middleware.exposition.responses import Answer, response
from prom_middleware.pushgateway import page
from prom_middleware.pushgateway.families import Labels
from prom_middleware.pushgateway.options import Setup
from prom_middleware.pushgateway.routing import Visit, text
from prom_middleware.pushgateway.store import Store

_HTML = ("Content-Type", "text/html; charset=utf-8")
_HOST = re.compile(r"[A-Za-z0-9.:_\[\]-]{1,255}")
_LAST_PAGE = 10**6


class Pages:
    """Answers people."""

    def __init__(self, store: Store, options: Setup, flags: Mapping[str, str]) -> None:
        self._store = store
        self._options = options
        self._flags = flags

    def show(self, visit: Visit) -> Answer:
        """Return the page, or ask whether to delete a group."""
        given = {name: values[0] for name, values in parse_qs(visit.request.query).items()}
        if "confirm" in given:
            return self._confirmation(given["confirm"], visit.request)
        number = given.get("page", "")
        view = page.View(
            wanted=given.get("q", ""),
            failed=given.get("failed") == "1",
            page=min(int(number), _LAST_PAGE) if re.fullmatch("[0-9]{1,9}", number) else 0,
        )
        body = page.overview(self._store.groups(), view, self._place(visit.request), time.time())
        return response(200, _HTML, *page.HEADERS, parts=[body])

    def _place(self, request: ScrapeRequest) -> page.Place:
        host = request.headers.get("host", "")
        host = host if _HOST.fullmatch(host) else "localhost:9091"
        base = self._flags["web.external-url"] or f"http://{host}{self._options.route_prefix}"
        return page.Place(base.rstrip("/"), self._options.telemetry_path, self._flags)

    def _confirmation(self, given: str, request: ScrapeRequest) -> Answer:
        key = _given_key(given)
        group = next((one for one in self._store.groups() if one.key == key), None)
        if group is None:
            return text(404, "there is no such group")
        body = page.confirmation(group, given, self._place(request))
        return response(200, _HTML, *page.HEADERS, parts=[body])

    def delete(self, visit: Visit) -> Answer:
        """Delete the group that a form of the page names."""
        if not _is_from_here(visit.request):
            return text(403, "only the gateway's own page may do this")
        given = parse_qs((visit.body or b"").decode(errors="replace")).get("group", [""])
        key = _given_key(given[0])
        if key is None:
            return text(400, "no group")
        self._store.delete_group(key)
        return response(303, ("Location", "../"), parts=[])


def _given_key(text: str) -> Labels | None:
    """Return the grouping key that a link of the page has, or None."""
    try:
        return tuple((str(name), str(value)) for name, value in json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return None


def _is_from_here(request: ScrapeRequest) -> bool:
    """Tell whether another site's page did not send this (https://www.w3.org/TR/fetch-metadata/).

    Who is no browser sends none of these headers.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")
