"""The hot path: what our own code does while a request is served.

Two rules say what may not enter this file:

1. Nothing that grows with the application: no loop over routes, buckets, headers or label sets;
   no string is built, no prometheus_client object is touched.
2. Nothing that waits: no blocking lock, no input or output, no logging. An update that finds the
   store taken is left in a queue for whoever has it, so that recording inside a signal handler or
   a finalizer cannot dead-lock, and no update is lost. See `recorder.py`.

Calls are spared rather than lines: a call costs as much as a look-up here.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from prom_middleware import failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from prom_middleware.instrumentation import Instrumentation
    from prom_middleware.stores import Labels

# The methods of RFC 9110 section 9, PATCH (RFC 5789) and QUERY; case-sensitive. A client could
# invent any number of others, so they share one label value.
METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
)
OTHER = "_OTHER"
UNMATCHED = "<unmatched>"

STATUSES = {code: str(code) for code in range(100, 600)}

# How a response ended, compared by identity.
COMPLETE = "complete"
DISCONNECT = "disconnect"
ERROR = "error"
INCOMPLETE = "incomplete"


def status_label(status: int) -> str:
    """Return the label of a status code; what is no code of three digits is `_OTHER`."""
    return STATUSES.get(status) or (str(int(status)) if 100 <= status <= 999 else OTHER)


def is_event_stream(content_type: str) -> bool:
    """Tell whether a response is open for as long as there are events: its time is no latency."""
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"


class Observation:
    """One request, from its first byte to its last.

    The door that made it keeps `status`, `received`, `sent`, `event_stream`, `trailers` and
    `disconnected` up to date, and says when the last byte was sent. A door further in only refines
    the route, by setting `route` or `resolve`.
    """

    __slots__ = (
        "_error",
        "_instrumentation",
        "_labels",
        "_started",
        "disconnected",
        "done",
        "event_stream",
        "method",
        "received",
        "request",
        "resolve",
        "route",
        "sent",
        "status",
        "trailers",
    )

    def __init__(self, instrumentation: Instrumentation, request: Any, method: str) -> None:
        self._instrumentation = instrumentation
        self.request = request
        self.method = method = method if method in METHODS else OTHER
        self.status: str | None = None
        self.route: str | None = None
        self.resolve: Callable[[Any], str | None] | None = None
        self._labels: Labels | None = None
        self._error: BaseException | None = None
        self.sent = self.received = 0
        self.done = self.disconnected = self.event_stream = self.trailers = False
        recorder = instrumentation.recorder
        try:
            give = recorder.take()
        except IndexError:
            recorder.update(recorder.begin, method)
        else:
            try:
                recorder.store.cells[recorder.live[method]] += 1
            except KeyError:
                recorder.begin(method)
            finally:
                give(give)
            if recorder.pending:
                recorder.drain()
        self._started = perf_counter()

    def finish(self, outcome: str = COMPLETE) -> None:
        """Record the request as ended now; only the first call counts."""
        seconds = perf_counter() - self._started
        if self.done:
            return
        self.done = True
        if self.method == "HEAD":  # RFC 9110 section 9.3.2: what the application gave was not sent
            self.sent = 0
        if self.status is None:
            self.status = "499" if outcome is DISCONNECT else "500"
        recorder = self._instrumentation.recorder
        try:
            labels = self.labels()
        except Exception:
            recorder.forget(self.method)
            raise
        try:
            give = recorder.take()
        except IndexError:
            recorder.update(recorder.finish, self, labels, seconds)
        else:
            try:
                recorder.finish(self, labels, seconds)
            finally:
                give(give)
            if recorder.pending:
                recorder.drain()
        self.request = None  # the request holds us: without the cycle, nothing waits for the GC
        if outcome is not COMPLETE:
            recorder.abort(labels, outcome)
        if self._error is not None:
            recorder.raised(labels, self._error)

    def returned(self) -> None:
        """Record that the application is done; nothing is left to do after the last byte."""
        if not self.done:
            self.finish(DISCONNECT if self.disconnected else INCOMPLETE)

    def failed(self, error: BaseException) -> None:
        """Record that the application raised `error`, before or after the last byte."""
        try:
            self.raised(error)
        finally:
            if not self.done:
                self.finish(DISCONNECT if self.disconnected else ERROR)
            self._error = None  # its traceback holds our frames, and they hold us

    def raised(self, error: BaseException) -> None:
        """Count an exception that something inside the application saw; the same one once."""
        if error is self._error:
            return
        self._error = error
        if self.done:
            self._instrumentation.recorder.raised(self.labels(), error)

    @property
    def error(self) -> BaseException | None:
        """Return the exception that was counted last, while the request lasts."""
        return self._error

    def discard(self) -> None:
        """Forget the request: it turned out to be a scrape, or we failed to observe it."""
        if not self.done:
            self.done = True
            self._instrumentation.recorder.forget(self.method)

    def resolver(self) -> Callable[[Any], str | None]:
        """Return what finds the route: an inner door's function, or the outermost door's."""
        return self.resolve or self._instrumentation.resolve

    def abandon(self) -> None:
        """Discard the request after a failure of ours; never raises."""
        try:
            self.discard()
        except Exception as error:
            failures.report("discard", error)

    def labels(self) -> Labels:
        """Return method, route, status and the extra labels, made once."""
        if self._labels is not None:
            return self._labels
        instrumentation, route = self._instrumentation, self.route
        if route is None:
            try:
                route = (self.resolve or instrumentation.resolve)(self.request) or UNMATCHED
            except Exception as error:
                failures.report("route", error)
                route = UNMATCHED
        labels: Labels = (self.method, route, self.status or "500")
        if instrumentation.extra_labels is not None:
            labels += instrumentation.extra_labels(self, labels)
        self._labels = labels
        return labels
