"""What few requests have to tell: errors, traces, streams of events, clients that leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prom_middleware.instrumentation.series import PROMISED

if TYPE_CHECKING:
    from collections.abc import Callable

    Trace = str | bytes | int


_LONGEST_CHAIN = 16
_MOST_ERRORS = 100  # their tracebacks hold the frames of the application


def mark(error: BaseException) -> tuple[type, int]:
    """Return what tells an exception from others without keeping it."""
    # Its `id` may be that of another one by then: where that is of another class, it tells.
    return type(error), id(error)


def comes_of(error: BaseException, earlier: BaseException) -> bool:
    """Tell whether an exception stands for an earlier one: it was raised in its place."""
    link: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if link is None or link is earlier:
            break
        members = getattr(link, "exceptions", ())  # of a group, PEP 654
        if isinstance(members, tuple) and any(one is earlier for one in members):
            break
        link = link.__cause__ or link.__context__
    return link is not None


def is_event_stream(content_type: str) -> bool:
    """Tell whether a response is open for as long as there are events: its time is no latency."""
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"


def content_length(value: Any) -> int | None:
    """Return the bytes that a Content-Length promises (RFC 9110 section 8.6); None if malformed."""
    try:
        return int(value) if value.isdigit() else None
    except (AttributeError, ValueError):  # no text, or more digits than there are bytes
        return None


class Rare:
    """What few requests have to tell; made for the first of it, so the others are spared it."""

    __slots__ = (
        "broken",
        "counted",
        "disconnected",
        "earlier",
        "error",
        "event_stream",
        "promised_in",
        "resolve",
        "trace",
        "trailers",
    )

    def __init__(self) -> None:
        self.event_stream = self.trailers = self.disconnected = self.broken = False
        self.error: BaseException | None = None  # the last one, while the request lasts
        self.earlier: list[BaseException] = []  # what was raised before, and for itself
        self.counted: tuple[type, int] | None = None  # which one was counted last
        self.trace: Trace | None = None
        self.resolve: Callable[[Any], str | None] | None = None
        self.promised_in = PROMISED  # the cell

    def knows(self, error: BaseException) -> bool:
        """Tell whether an exception was seen before."""
        seen = (self.error, *self.earlier)
        return mark(error) == self.counted or any(error is one for one in seen)

    def keep(self, error: BaseException) -> None:
        """Keep an exception until the end, and the one before if that was another matter."""
        before, self.error = self.error, error
        if before is None or len(self.earlier) >= _MOST_ERRORS:
            return
        if not (comes_of(error, before) or comes_of(before, error)):  # taken out of a group, say
            self.earlier.append(before)

    def take(self) -> list[BaseException]:
        """Return what was kept, and keep it no longer."""
        error = self.error
        if error is None:
            return []
        kept = [*self.earlier, error]
        # Only to know it again: its traceback holds the frames of the application.
        self.counted, self.error, self.earlier = mark(error), None, []
        return kept
