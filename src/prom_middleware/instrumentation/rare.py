"""What few requests have to tell: errors, traces, streams of events, clients that leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prom_middleware.instrumentation.at_hand import PROMISED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Trace = str | bytes | int


# For one request, and for what one stands for: their tracebacks hold the application's frames.
_MOST_ERRORS = 100


def mark(error: BaseException) -> tuple[type, int]:
    """Return what tells an exception from others without keeping it."""
    # Its `id` may be that of another one by then: where that is of another class, it tells.
    return type(error), id(error)


def covered(error: BaseException) -> list[BaseException]:
    """Return an exception and those that it was raised in the place of, or has in its group."""
    found: list[BaseException] = []
    to_see: list[BaseException | None] = [error]
    while to_see and len(found) < _MOST_ERRORS:
        link = to_see.pop()
        if link is None or any(link is one for one in found):
            continue
        found.append(link)
        members = getattr(link, "exceptions", ())  # of a group, PEP 654
        to_see += link.__cause__, link.__context__, *(members if type(members) is tuple else ())
    return found


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
        "refused",
        "resolve",
        "trace",
        "trailers",
    )

    def __init__(self) -> None:
        self.event_stream = self.trailers = self.disconnected = self.broken = self.refused = False
        self.error: BaseException | None = None  # the last one, while the request lasts
        self.earlier: list[BaseException] = []  # what was raised before, and for itself
        self.counted: Sequence[tuple[type, int]] = ()  # which ones were counted last
        self.trace: Trace | None = None
        self.resolve: Callable[[Any], str | None] | None = None
        self.promised_in = PROMISED  # the cell

    def knows(self, error: BaseException) -> bool:
        """Tell whether an exception was seen before; after the end, also one that it stands for."""
        if self.counted and any(mark(one) in self.counted for one in covered(error)):
            return True
        return any(error is one for one in (self.error, *self.earlier))

    def keep(self, error: BaseException) -> None:
        """Keep an exception until the end, and those before that were another matter."""
        before, self.error = self.error, error
        if before is None or len(self.earlier) >= _MOST_ERRORS:
            return
        gone = covered(error)
        if any(error is one for one in covered(before)):  # taken out of a group, say
            gone.append(before)
        seen = (*self.earlier, before)
        self.earlier = [one for one in seen if not any(one is other for other in gone)]

    def take(self) -> list[BaseException]:
        """Return what was kept, and keep it no longer."""
        error = self.error
        if error is None:
            return []
        kept = [*self.earlier, error]
        # Only to know it again: its traceback holds the frames of the application.
        self.counted, self.error, self.earlier = [mark(one) for one in kept], None, []
        return kept
