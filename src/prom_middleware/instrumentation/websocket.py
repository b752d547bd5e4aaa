"""A websocket connection, from its handshake to its end."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from prom_middleware import failures
from prom_middleware.instrumentation.observation import OTHER, UNMATCHED, status_label

if TYPE_CHECKING:
    from collections.abc import Callable

    from prom_middleware.instrumentation import Instrumentation

NO_CODE = "none"
INTERNAL_ERROR = 1011  # RFC 6455 section 7.4.1 and the IANA registry
PROTOCOL_CODES = range(1000, 1016)
# A client may close with any of 2,000 more (section 7.4.2), and would take all the series there
# may be: so many different ones keep their number. What the application closes with always does.
MOST_CODES_OF_CLIENTS = 16


class Connection:
    """One websocket. `refused` and `accepted` tell of the handshake, `closed` of the close."""

    __slots__ = (
        "_closing",
        "_code",
        "_opened",
        "_route",
        "_status",
        "core",
        "done",
        "request",
        "resolve",
        "route",
    )

    def __init__(self, instrumentation: Instrumentation, request: Any) -> None:
        self.core = instrumentation
        self.request = request
        self.resolve: Callable[[Any], str | None] = instrumentation.resolve
        self.route: str | None = None
        self.done = False
        self._route: str | None = None
        self._status: str | None = None
        self._code: int | str | None = None
        self._closing: int | None = None
        self._opened: float | None = None

    def __copy__(self) -> Connection:
        """Return itself, see Observation."""
        return self

    def __deepcopy__(self, memo: object) -> Connection:
        """Return itself, see Observation."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Have None be pickled, see Observation."""
        return type(None), ()

    def accepted(self) -> None:
        """Record that the connection is open, unless it has ended: a task may come too late."""
        if self.done or self._status is not None:
            return
        self._status = "101"
        self._opened = perf_counter()
        recorder = self.core.recorder
        recorder.add(recorder.series.websockets_open, ())

    def refused(self, status: int) -> None:
        """Record the status of a handshake that was not accepted; the first one counts."""
        if self._status is None:
            self._status = status_label(status)

    def closed(self, code: int | str) -> None:
        """Record the close of an open connection; the first code counts."""
        if self._opened is None:
            self.refused(403)
        elif self._code is None:
            self._code = code
            self.finish()

    def closing(self, code: int | None) -> None:
        """Note the code that the application is sending; None: it could not be sent."""
        self._closing = code

    def lost(self, code: int) -> None:
        """Record that the client closed; before the handshake's end, nothing was answered."""
        # Granian tells of the application's own close before it has returned from that.
        if self._opened is not None:
            self.closed(self._of_client(code) if self._closing is None else self._closing)

    def _of_client(self, code: int) -> int | str:
        known = self.core.recorder.client_codes
        if code not in PROTOCOL_CODES and code not in known:
            if len(known) >= MOST_CODES_OF_CLIENTS:
                return OTHER
            known.add(code)
        return code

    def message(self, direction: str) -> None:
        """Count one message, `received` or `sent`."""
        recorder = self.core.recorder
        labels = (self._resolved(), direction)
        recorder.add(recorder.series.websocket_messages, labels)

    def failed(self) -> None:
        """Record that the application raised."""
        if self._opened is not None and self._code is None:
            self._code = INTERNAL_ERROR
        self.finish()

    def finish(self) -> None:
        """Record the connection as ended now; only the first call counts."""
        if self.done:
            return
        self.done = True
        recorder, series = self.core.recorder, self.core.recorder.series
        if self._opened is not None:
            recorder.add(series.websockets_open, (), -1)
        route = self._resolved()
        code = NO_CODE if self._code is None else str(self._code)
        labels = (route, self._status or "500", code)
        recorder.add(series.websockets, labels)
        if self._opened is not None:
            seconds = perf_counter() - self._opened
            recorder.observe(series.websocket_durations, (route,), seconds)
        # The request holds us, see Observation.finish.
        self.request, self.resolve = None, self.core.resolve

    def _resolved(self) -> str:
        if self._route is None:
            try:
                self._route = self.route or self.resolve(self.request) or UNMATCHED
            except Exception as error:
                failures.report("route", error)
                self._route = UNMATCHED
        return self._route
