"""One scrape: from a request, whoever brought it, to a response, whoever sends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter

from prometheus_client.registry import Collector

from prom_middleware import failures
from prom_middleware.exposition import turns
from prom_middleware.exposition.access import AccessRule, ScrapeRequest
from prom_middleware.exposition.beside import THREAD
from prom_middleware.exposition.federation import federated, is_federation
from prom_middleware.exposition.guards import refusal
from prom_middleware.exposition.negotiation import Format, coding_of, negotiate
from prom_middleware.exposition.options import Limits
from prom_middleware.exposition.refusals import Busy, Refusal
from prom_middleware.exposition.rendering import Wanted
from prom_middleware.exposition.responses import (
    PLAIN,
    Answer,
    ScrapeResponse,
    last_resort,
    message,
    response,
    without_body,
)
from prom_middleware.exposition.selection.parameters import DEBUG, parse_query
from prom_middleware.instrumentation import registered

# The same URL has several forms; a cache must not mix them up (RFC 9110 section 12.5.5).
VARY = ("Vary", "Accept, Accept-Encoding")
DEFAULTS = Limits()
# Threads in which ASGI servers, frameworks and we call what is not asynchronous.
LOOPS_THREADS = ("asyncio_", "AnyIO worker", "ThreadPoolExecutor", THREAD)


def answer(
    registry: Collector,
    translate: Callable[[], ScrapeRequest],
    access: AccessRule | None,
    limits: Limits | None = None,
) -> Answer:
    """Answer the scrape that `translate` reads from a server's own request; never raises."""
    try:
        return Visit(registry, limits, gentle=_serves_a_loop()).answer(translate, access)
    except Exception as error:
        failures.report("scrape", error)
        return last_resort()


def scrape(
    registry: Collector,
    request: ScrapeRequest,
    access: AccessRule | None = None,
    limits: Limits | None = None,
) -> ScrapeResponse:
    """Answer a scrape of `registry`; never raises."""
    found = answer(registry, lambda: request, access, limits)
    return ScrapeResponse(found.status, found.headers, found.body)


class Visit:
    """One scrape from the door on: whether it is admitted, and then its answer."""

    def __init__(self, registry: Collector, limits: Limits | None, *, gentle: bool) -> None:
        self._registry = registry
        self._limits = limits or DEFAULTS
        self._gentle = gentle  # an event loop waits for the interpreter, or greenlets for us
        self._started = perf_counter()
        self._busy: Busy | None = None
        self.leave: Callable[[], object] = tuple
        try:
            self.leave = turns.desk.enter(registry, self._limits.max_requests_in_flight)
        except Busy as busy:
            self._busy = busy

    @property
    def admitted(self) -> bool:
        """Tell whether there is a place for it; if not, the answer is quickly made."""
        return self._busy is None

    def answer(self, translate: Callable[[], ScrapeRequest], access: AccessRule | None) -> Answer:
        """Return the answer; the place is free then, however slow its reader is. Never raises."""
        try:
            found = self._answer(translate, access)
            self._count(found.status)
            return found
        except Exception as error:
            failures.report("scrape", error)
            return last_resort()
        finally:
            self.leave()

    def _answer(self, translate: Callable[[], ScrapeRequest], access: AccessRule | None) -> Answer:
        try:
            request = translate()
        except Exception as error:
            return failed(error)
        return without_body(self._found(request, access), request.method)

    def _found(self, request: ScrapeRequest, access: AccessRule | None) -> Answer:
        try:
            if self._busy is not None:
                raise self._busy
            return refusal(request, access) or self._metrics(request)
        except Exception as error:
            return failed(error)

    def _metrics(self, request: ScrapeRequest) -> Answer:
        wanted = self._wanted(request)
        strict = self._limits.error_handling == "http_error"
        waiting = turns.Scrape(self._registry, wanted, strict=strict, gentle=self._gentle)
        turns.desk.make(waiting)
        if waiting.error is not None:
            raise waiting.error
        headers = [("Content-Type", wanted.form.content_type), VARY]
        if wanted.coding != "identity":
            headers.append(("Content-Encoding", wanted.coding))
        return response(200, *headers, parts=list(waiting.body))

    def _wanted(self, request: ScrapeRequest) -> Wanted:
        federates, limits = is_federation(request), self._limits
        query = parse_query(request.query, federated=federates)
        accepted = request.headers.get("accept-encoding", "")
        coding = "identity" if limits.disable_compression else coding_of(accepted)
        wanted = Wanted(
            _form(request, query.debug), coding, query.selection, limits.seconds(request.headers)
        )
        return federated(wanted, request, limits) if federates else wanted

    def _count(self, status: int) -> None:
        try:
            recorder = registered(self._registry)
            if recorder is not None:
                series, seconds = recorder.series, perf_counter() - self._started
                recorder.add(series.scrapes, (str(status),))
                recorder.observe(series.scrape_durations, (), seconds)
        except Exception as error:
            failures.report("scrape", error)


def _serves_a_loop() -> bool:
    return turns.is_green() or threading.current_thread().name.startswith(LOOPS_THREADS)


def _form(request: ScrapeRequest, debug: str | None) -> Format:
    if debug is None:
        return negotiate(request.headers.get("accept", ""))
    # A browser shows what is plain text, and saves what it does not know.
    return negotiate(DEBUG[debug])._replace(content_type=PLAIN[1])


def failed(error: BaseException) -> Answer:
    """Return the answer where something went wrong, and count it if that is ours."""
    if isinstance(error, Refusal):
        return message(error.status, str(error))
    failures.report("scrape", error)
    return message(500, "The metrics cannot be shown; the application's log says why.")
