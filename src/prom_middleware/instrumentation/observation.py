"""The hot path: what our own code does while a request is served.

Two rules say what may not enter this file:

1. Nothing that grows with the application: no loop over routes, buckets or label sets; no string
   is built, no prometheus_client object is touched. (The doors of ASGI do loop over the headers:
   there they are a list.)
2. Nothing that waits: no blocking lock, no input or output, no logging. An update that finds the
   store taken is left in a queue for whoever has it, so that recording inside a signal handler or
   a finalizer cannot dead-lock, and no update is lost. See `stores/turn.py`. (After a failure of
   ours, `failures.report` does count under a lock, and logs once; where several processes share a
   store, `promise` waits for a scrape that has the turn, 20 ms at most.)

Calls are spared rather than lines: a call costs as much as ten look-ups here. What an instance
holds is read before it is called, which CPython 3.11 cannot specialise when both are one.
"""

from __future__ import annotations

from bisect import bisect_left
from time import perf_counter
from typing import TYPE_CHECKING, Any

from prom_middleware import failures
from prom_middleware.instrumentation.at_hand import PROMISED, RECEIVED, SENT, STREAMS, AtHand
from prom_middleware.instrumentation.rare import Rare, is_event_stream, mark
from prom_middleware.instrumentation.tracing import TRACING

if TYPE_CHECKING:
    from collections.abc import Callable

    from prom_middleware.instrumentation.rare import Trace
    from prom_middleware.stores import Labels

# The methods of RFC 9110 section 9, PATCH (RFC 5789) and QUERY; case-sensitive. A client could
# invent any number of others, so they share one label value.
METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
)
OTHER = "_OTHER"
UNMATCHED = "<unmatched>"

STATUSES = {code: str(code) for code in range(100, 600)}

# Statuses of responses that have no body.
BODILESS = ("204", "304")

# How a response ended, compared by identity.
COMPLETE = "complete"
DISCONNECT = "disconnect"
ERROR = "error"
INCOMPLETE = "incomplete"


def status_label(status: int | str) -> str:
    """Return the label of a status code; what is no code of three digits is `_OTHER`."""
    code = int(status)  # Hypercorn sends a string's number, too
    return STATUSES.get(code) or (str(code) if 100 <= code <= 999 else OTHER)


class Observation:
    """One request, from its first byte to its last.

    The door that made it calls `begin`, keeps `status`, `received`, `sent`, `disconnected` and what
    is rare up to date, and says when the last byte was sent. A door further in only refines the
    route, by setting `route` or `resolve`. `finish`, `failed`, `raised`, `left` and `discard` raise
    nothing but what ends the process.
    """

    __slots__ = (
        "__weakref__",
        "_labels",
        "core",
        "done",
        "method",
        "promised",
        "rare",
        "received",
        "request",
        "route",
        "sent",
        "started",
        "status",
    )

    # Whether the door itself calls the application, so that whatever is raised comes its way.
    calls = False

    # No __init__: a class calls it by way of C, which takes longer than half of what it would do.
    def begin(self, core: AtHand, request: Any, method: str) -> None:
        """Count the request as in progress, and start the clock."""
        self.core = core
        self.request = request
        self.method = method
        self.status: str | None = None
        self.route: str | None = None
        self._labels: Labels | None = None
        self.promised = core.unpromised
        self.rare: Rare | None = None
        self.sent = self.received = 0
        self.done = False
        try:
            core.running[method].append(None)
        except KeyError:
            self.method = method if method in METHODS else OTHER
            core.recorder.begin(self.method)
        self.started = perf_counter()

    def __copy__(self) -> Observation:
        """Return itself: in a copy of its scope, a request is the same one, and ends once."""
        return self

    def __deepcopy__(self, memo: object) -> Observation:
        """Return itself: Hypercorn's ProxyFixMiddleware makes deep copies of scopes."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Have None be pickled: a scope may go to another process, and a request is of this one."""
        return type(None), ()

    def promise(self) -> None:
        """Note that the response is about to begin, should this process not live to finish it.

        Worth it where `core.promises`: a client may have received what a killed worker sent.
        """
        try:
            if self.promised is not None or self.done:
                return
            core, rare = self.core, self.rare
            labels = self._labels or self.labels()
            if rare is not None and rare.event_stream:
                core.recorder.promise(self, labels)
                return
            try:
                give = core.turn.tokens.pop()
            except IndexError:
                core.recorder.promise(self, labels)
            else:
                try:
                    if self.started > core.store.look_at and not core.recorder.is_ours(self):
                        return
                    core.store.cells[core.offsets[labels] + PROMISED] += 1
                    self.promised = labels
                except KeyError:
                    core.recorder.promise_instead(self, labels)
                finally:
                    give(give)
                    if core.turn.pending:
                        core.turn.drain()
        except Exception as error:
            failures.report("promise", error)

    def finish(self, outcome: str = COMPLETE, late: tuple[Labels, float] | None = None) -> None:
        """Record the request as ended now; only the first call counts.

        A call that finds the store taken leaves another one to whoever has it, with the labels and
        the seconds that it was `late` with. One function for all of it: a part that is called costs
        as much as what it does.
        """
        try:
            core = self.core
            turn = core.turn
            rare = self.rare
            labels: Labels | None
            give: Callable[[Any], object]
            if late is not None:
                (labels, seconds), give = late, id  # the turn is not ours to give back
            else:
                seconds = perf_counter() - self.started
                if self.done:
                    return
                self.done = True
                status = self.status
                if status is None:
                    self.forget_start()
                    status = self.status = "499" if outcome is DISCONNECT else "500"
                labels = self._labels
                # A promise may have been made of a start that the server did not accept, and what
                # labels are made of may have come after it.
                extra = core.extra_labels
                if (
                    labels is None
                    or labels[2] != status
                    or (extra is not None and extra.asks and self.request is not None)
                ):
                    try:
                        if extra is None:
                            route = self.route
                            if route is None:
                                resolve = core.resolve if rare is None else self.resolve
                                route = resolve(self.request) or UNMATCHED
                            labels = self._labels = (self.method, route, status)
                        else:
                            labels = self.labels()
                    except BaseException as error:
                        labels = self._labels_after(error)
                try:
                    give = turn.tokens.pop()
                except IndexError:
                    if TRACING in core.modules:
                        core.exemplars.hold(self)
                    turn.update(self.finish, outcome, (labels, seconds))
                    return
            try:
                # Promised before a fork, too: its parent has the promise, and keeps it.
                if core.promises and (
                    self.promised is not labels or self.started < core.store.born
                ):
                    if not core.recorder.is_ours(self):
                        return
                    core.recorder.promise_instead(self, labels)
                method = self.method
                try:
                    core.running[method].pop()
                except LookupError:  # the beginning of the first ones still waits for its turn
                    core.recorder.end(method)
                cells = core.store.cells
                try:
                    offset = core.offsets[labels]
                except KeyError:
                    offset = core.recorder.allocate(labels)
                    cells = core.store.cells
                # RFC 9110 section 9.3.2: what is given in answer to HEAD is not sent.
                if self.sent and method != "HEAD":
                    cells[offset + SENT] += self.sent
                if self.received:
                    cells[offset + RECEIVED] += self.received
                if rare is not None and rare.event_stream:
                    cells[offset + STREAMS] += 1
                    core.recorder.observe_stream(labels, seconds)
                else:
                    # First: a scrape in between must not find one too few in the native one.
                    if core.native:
                        cells[offset + core.native + bisect_left(core.native_bounds, seconds)] += 1
                    cells[offset + bisect_left(core.edges, seconds)] += 1
                    cells[offset] += seconds
                # A span is current only where OpenTelemetry's context has anything in it.
                context = core.context
                if (
                    context()
                    if context is not None
                    else TRACING in core.modules and core.exemplars.find_context(core)
                ) or (rare is not None and rare.trace is not None):
                    core.exemplars.note(self, labels, seconds, late is None)
            finally:
                give(give)
                if turn.pending:
                    turn.drain()
            # The request holds us: without the cycle, nothing waits for the garbage collector.
            self.request = None
            if outcome is not COMPLETE or rare is not None:
                self._tell(labels, outcome)
        except Exception as error:
            failures.report("finish", error)

    def _labels_after(self, error: BaseException) -> Labels:
        # Once more, and what failed is left out: asked again, it would be counted again.
        failures.report("route", error)
        if isinstance(error, failures.ENDING):
            self.core.recorder.forget(self.method)
            raise error
        try:
            self.route = self.route or UNMATCHED
            return self.labels()
        except Exception:
            self.core.recorder.forget(self.method)
            raise

    def _tell(self, labels: Labels, outcome: str) -> None:
        rare = self.rare
        if rare is not None:
            rare.resolve = None  # it holds the request, too
        # Whoever called what broke may have sent an answer in its place; a server's own is empty.
        if rare is not None and rare.broken and outcome is not DISCONNECT:
            answered = self.sent or labels[2] != "500"
            outcome = COMPLETE if outcome is COMPLETE and answered else ERROR
        if outcome is not COMPLETE:
            self.core.recorder.abort(labels, outcome)
        for error in () if rare is None else rare.take():
            self.core.recorder.raised(labels, error)

    def forget_start(self) -> None:
        """Forget a response that was begun, of which the server has sent nothing."""
        try:
            self.status, self.sent, rare = None, 0, self.rare
            if rare is not None and rare.event_stream:
                rare.event_stream, self._labels = False, None  # the promise is one of a stream
        except Exception as error:
            failures.report("start_response", error)

    def returned(self) -> None:
        """Record that the application is done; nothing is left to do after the last byte."""
        try:
            if not self.done:
                rare = self.rare  # not the property: should that fail, this must not
                self.finish(DISCONNECT if rare is not None and rare.disconnected else INCOMPLETE)
        except Exception as error:
            failures.report("finish", error)

    def left(self) -> None:
        """Note that the client has left, perhaps with the whole response."""
        try:
            gone, self.disconnected = self.disconnected, True
            if self.status is not None and not (gone or self.done) and self.is_whole():
                self.finish()
        except Exception as error:
            failures.report("disconnect", error)

    def is_whole(self, more: int = 0) -> bool:
        """Tell whether a response that has begun is sent, by what its headers say.

        With so many bytes `more` than were counted.
        """
        if self.method == "HEAD" or self.status in BODILESS:  # RFC 9110 section 6.4.1
            return True
        length = self.promised_length()
        return length is not None and self.sent + more >= length

    def promised_length(self) -> int | None:
        """Return how long the body is, where the door knows what the headers say."""
        return None

    def failed(self, error: BaseException) -> None:
        """Record that the application raised `error`, before or after the last byte."""
        try:
            self.raised(error)
            if not self.done:
                rare = self.rare
                self.finish(DISCONNECT if rare is not None and rare.disconnected else ERROR)
        except Exception as failure:
            failures.report("finish", failure)

    def broke(self, error: BaseException) -> None:
        """Note that `error` left an application further in, and may go no further."""
        try:
            self.raised(error)
            self.rarely().broken = True
        except Exception as failure:
            failures.report("exception", failure)

    def raised(self, error: BaseException) -> None:
        """Count an exception that something inside the application saw; the same one once."""
        try:
            rare = self.rarely()
            if rare.knows(error):
                return
            if not self.done:
                rare.keep(error)
                return
            rare.counted = (mark(error),)
            if self.started >= self.core.store.born:  # else the parent's: see `Recorder.is_ours`
                self.core.recorder.raised(self._labels or self.labels(), error)
        except Exception as failure:
            failures.report("exception", failure)

    @property
    def error(self) -> BaseException | None:
        """Return the exception that was seen last, while the request lasts."""
        return None if self.rare is None else self.rare.error

    def note_type(self, content_type: str) -> None:
        """Note the response's Content-Type."""
        if is_event_stream(content_type):
            self.rarely().event_stream = True
            if self.promised:  # as one that has a latency
                self.core.recorder.promise(self, self.promised)

    @property
    def disconnected(self) -> bool:
        """Tell whether the client has left."""
        return self.rare is not None and self.rare.disconnected

    @disconnected.setter
    def disconnected(self, gone: bool) -> None:
        if gone:
            self.rarely().disconnected = True

    @property
    def trace(self) -> Trace | None:
        """Return the header that names the request's trace, or the trace as a number."""
        return None if self.rare is None else self.rare.trace

    @trace.setter
    def trace(self, trace: Trace | None) -> None:
        if trace is not None:
            self.rarely().trace = trace

    @property
    def resolve(self) -> Callable[[Any], str | None]:
        """Return how the route is found: an inner door may know it better than ours."""
        rare = self.rare
        return self.core.resolve if rare is None or rare.resolve is None else rare.resolve

    @resolve.setter
    def resolve(self, resolve: Callable[[Any], str | None]) -> None:
        self.rarely().resolve = resolve

    def rarely(self) -> Rare:
        """Return what is rare about this request, made by the first call."""
        if self.rare is None:
            self.rare = Rare()
        return self.rare

    def discard(self) -> None:
        """Forget the request: it turned out to be a scrape, or we failed to observe it."""
        try:
            if not self.done:
                self.done = True
                self.request = None
                if self.rare is not None:
                    self.rare.resolve = None
                self.core.recorder.forget(self.method)
        except Exception as error:
            failures.report("discard", error)

    def labels(self) -> Labels:
        """Return method, route, status and the extra labels, and keep them."""
        core, route = self.core, self.route
        if route is None:
            try:
                resolve = core.resolve if self.rare is None else self.resolve
                route = resolve(self.request) or UNMATCHED
            except Exception as error:
                failures.report("route", error)
                route = UNMATCHED
        self.route = route  # should the status change, the request may be gone by then
        labels: Labels = (self.method, route, self.status or "500")
        if core.extra_labels is not None:
            labels += core.extra_labels(self, labels)
        self._labels = labels
        return labels
