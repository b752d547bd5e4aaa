"""From a request to an answer: what each path and method does, whatever server brought it.

https://github.com/prometheus/pushgateway#api
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Mapping
from time import perf_counter
from urllib.parse import parse_qs

from prom_middleware import failures
from prom_middleware._version import __version__
from prom_middleware.exposition.access import ScrapeRequest
from prom_middleware.exposition.compression import compress
from prom_middleware.exposition.guards import unauthorized
from prom_middleware.exposition.negotiation import coding_of
from prom_middleware.exposition.refusals import SelectorError
from prom_middleware.exposition.responses import Answer, last_resort, response
from prom_middleware.exposition.selection.selectors import NAME, parse_selector
from prom_middleware.pushgateway import api
from prom_middleware.pushgateway.bodies import parse_body
from prom_middleware.pushgateway.bodies.codings import too_large
from prom_middleware.pushgateway.durable import Journal
from prom_middleware.pushgateway.families import Labels
from prom_middleware.pushgateway.grouping import grouping_key
from prom_middleware.pushgateway.multiple import parse_pushes
from prom_middleware.pushgateway.options import Setup
from prom_middleware.pushgateway.own import OwnMetrics
from prom_middleware.pushgateway.page.handlers import Pages
from prom_middleware.pushgateway.rendering import Form, head, joined, metric_bytes, negotiate
from prom_middleware.pushgateway.routing import (
    Route,
    Visit,
    clean_path,
    handled,
    moved,
    route,
    text,
    words,
)
from prom_middleware.pushgateway.store import Push, Store
from prom_middleware.pushgateway.ttl import ttl_of

# With the keys that the original has.
BUILD = {
    "branch": "",
    "buildDate": "",
    "buildUser": "",
    "goVersion": f"python{platform.python_version()}",
    "revision": "",
    "version": __version__,
}


class Gateway:
    """A Pushgateway. Raises StorageError for a database that cannot be used."""

    def __init__(self, options: Setup, flags: Mapping[str, str] | None = None) -> None:
        self.options = options
        self.flags = {**self.options.flags(), **(flags or {})}
        self._own = OwnMetrics()
        self._own_names = self._own.names()
        path = self.options.persistence_file
        journal = Journal(path) if path else None
        self.store = Store(
            journal, own=self._own_names, checked=not self.options.disable_consistency_check
        )
        self.moved_aside = journal.moved_aside if journal else None
        self._started_ns = time.time_ns()
        self._routes = list(self._all_routes())

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()

    def refusal(self, request: ScrapeRequest) -> Answer | None:
        """Return what somebody is told who may not use the gateway, before a body is read."""
        return unauthorized(request, self.options.access)

    def answer(self, request: ScrapeRequest, body: bytes | None) -> Answer:
        """Answer a request that was not refused; never raises.

        Bytes of the path that are not UTF-8 come as lone surrogates. `body` is None where it has
        more than `max_body_bytes`.
        """
        try:
            return self._answer(request, body)
        except Exception as error:
            failures.report("pushgateway", error)
            return last_resort()

    def _answer(self, request: ScrapeRequest, body: bytes | None) -> Answer:
        clean = clean_path(request.path)
        if clean != request.path and request.method != "CONNECT":
            return moved(301, clean, request.query)
        prefix = self.options.route_prefix
        if not clean.startswith(prefix):
            return text(404, "404 page not found")
        below = clean[len(prefix) :]
        for one in self._routes:
            found = one.path.fullmatch(below)
            if found:
                return self._routed(one, Visit(request, body, found))
        return self._unknown(request, below)

    def _routed(self, found: Route, visit: Visit) -> Answer:
        method = visit.request.method
        started = perf_counter()
        handler = found.methods.get(method)
        if handler is None:
            if method == "OPTIONS":
                return response(200, ("Allow", found.allow), parts=[])
            return text(405, "Method Not Allowed", ("Allow", found.allow))
        answer = handled(handler, visit)
        name = "delete" if method == "DELETE" else found.name
        if name:
            self._own.count(name, method, answer.status)
        if name == "push":
            self._own.observe_push(method, len(visit.body or b""), perf_counter() - started)
        return answer

    def _unknown(self, request: ScrapeRequest, below: str) -> Answer:
        if below.startswith("/api/v1/") and request.method == "OPTIONS":
            return response(200, *api.CORS, parts=[])
        if below == "/metrics/job/" and request.method in ("PUT", "POST", "DELETE"):
            return moved(307, clean_path(request.path)[:-1], request.query)  # where nothing is
        other = below[:-1] if below.endswith("/") else f"{below}/"  # of the prefix, too
        method = request.method
        if any(method in one.methods and one.path.fullmatch(other) for one in self._routes):
            status = 301 if method == "GET" else 307
            return moved(status, self.options.route_prefix + other, request.query)
        return text(404, "404 page not found")

    # What the paths are.

    def _all_routes(self) -> list[Route]:
        pages = Pages(self.store, self.options, self.flags)
        telemetry = re.escape(self.options.telemetry_path)
        push = {"PUT": self._push, "POST": self._push}
        admin: list[Route] = []
        if self.options.enable_admin_api:
            admin = [
                route("/api/v1/admin/wipe", "wipe", PUT=self._wipe, OPTIONS=_cors),
                route("/api/v1/admin/delete", "delete", PUT=self._delete_selected),
            ]
        if self.options.enable_multiple_groups:
            admin.append(
                route("/api/v1/groups", "push", PUT=self._push_multiple, POST=self._push_multiple)
            )
        return [
            route(telemetry, None, GET=self._scrape),
            Route(
                re.compile(r"/metrics/(job(?:@base64)?/[^/]+)(/.*)?", re.DOTALL),
                "push",
                {**push, "DELETE": self._delete},
            ),
            route("/api/v1/metrics", "api/v1/metrics", GET=self._api_metrics, OPTIONS=_cors),
            route("/api/v1/status", "api/v1/status", GET=self._api_status, OPTIONS=_cors),
            *admin,
            route("/-/healthy|/-/ready", None, GET=lambda visit: words(200, "OK")),
            route("/-/quit", None, PUT=self._quit, POST=self._quit, GET=_only_puts),
            route("/-/delete-group", "delete", POST=pages.delete),
            route("/debug/pprof/cmdline", None, GET=lambda visit: words(200, "pushgateway")),
            route("/|/status", "status", GET=pages.show),
        ]

    # Pushing and deleting.

    def _push(self, visit: Visit) -> Answer:
        key, ttl_ns = self._key(visit)
        headers = visit.request.headers
        families = parse_body(
            self._body(visit),
            headers.get("content-type", ""),
            headers.get("content-encoding", ""),
            limit=self.options.max_body_bytes,
            utf8_names=self.options.enable_utf8_names,
        )
        return self._stored([Push(key, families, visit.request.method == "PUT", ttl_ns)])

    def _push_multiple(self, visit: Visit) -> Answer:
        coding = visit.request.headers.get("content-encoding", "")
        replace = visit.request.method == "PUT"
        return self._stored(parse_pushes(self._body(visit), coding, self.options, replace=replace))

    def _stored(self, pushes: list[Push]) -> Answer:
        self.store.push(pushes)
        return response(202 if self.options.disable_consistency_check else 200, parts=[])

    def _body(self, visit: Visit) -> bytes:
        if visit.body is None:
            raise too_large(self.options.max_body_bytes)
        return visit.body

    def _key(self, visit: Visit) -> tuple[Labels, int | None]:
        job, labels = visit.found.groups()
        key = grouping_key(job, labels or "", utf8_names=self.options.enable_utf8_names)
        return ttl_of(key, self.options.push_ttl)

    def _delete(self, visit: Visit) -> Answer:
        key, _ = self._key(visit)
        self.store.delete_group(key)
        return response(202, parts=[])

    def _wipe(self, visit: Visit) -> Answer:
        self.store.wipe()
        return response(202, parts=[])

    def _delete_selected(self, visit: Visit) -> Answer:
        selectors = list(map(parse_selector, parse_qs(visit.request.query).get("match[]", [])))
        if not selectors or any(m.label == NAME for one in selectors for m in one.matchers):
            raise SelectorError("match[]: give labels of groups, which have no names")

        def is_chosen(key: Labels) -> bool:
            return any(one.accepts_labels(dict(key)) for one in selectors)

        return api.success({"groups": self.store.delete(is_chosen)}, 202)

    # Reading.

    def _scrape(self, visit: Visit) -> Answer:
        headers = visit.request.headers
        form = negotiate(headers.get("accept", ""))
        coding = coding_of(headers.get("accept-encoding", ""))
        said = [("Content-Type", form.content_type), ("Vary", "Accept, Accept-Encoding")]
        parts = self._exposition(form)
        if coding != "identity":
            said.append(("Content-Encoding", coding))
            parts = [b"".join(compress(parts, coding))]
        return response(200, *said, parts=parts)

    def _exposition(self, form: Form) -> list[bytes]:
        exposed, own = self.store.exposed(form), self._own.metrics()
        names = self._own_names
        parts: list[bytes] = []
        for name in sorted({*exposed, *own}):
            pushed = exposed.get(name)
            type_ = names[name].type if name in names else pushed.type if pushed else ""
            said = names[name].help if name in names else pushed.help if pushed else None
            lines = [metric_bytes(name, type_, one, form) for one in own.get(name, ())]
            metrics = b"".join(lines) + (pushed.metrics if pushed else b"")
            if metrics:
                parts += joined(head(name, type_, said, form), metrics, form)
        return parts

    def _api_metrics(self, visit: Visit) -> Answer:
        return api.metrics(self.store.groups())

    def _api_status(self, visit: Visit) -> Answer:
        return api.status(self.flags, BUILD, self._started_ns)

    def _quit(self, visit: Visit) -> Answer:
        if self.options.quit is None:
            return words(403, "Lifecycle API is not enabled.")
        self.options.quit()
        return words(200, "Requesting termination... Goodbye!")


def _only_puts(visit: Visit) -> Answer:
    return words(405, "Only POST or PUT requests allowed.")


def _cors(visit: Visit) -> Answer:
    return response(200, *api.CORS, parts=[])
