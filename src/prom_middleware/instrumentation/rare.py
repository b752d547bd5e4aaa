"""What few requests have to tell: errors, traces, streams of events, clients that leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prom_middleware.instrumentation.series import PROMISED

if TYPE_CHECKING:
    from collections.abc import Callable

    Trace = str | bytes | int


def mark(error: BaseException) -> tuple[type, int]:
    """Return what tells an exception from others without keeping it."""
    # Its `id` may be that of another one by then: where that is of another class, it tells.
    return type(error), id(error)


def is_event_stream(content_type: str) -> bool:
    """Tell whether a response is open for as long as there are events: its time is no latency."""
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"


class Rare:
    """What few requests have to tell; made for the first of it, so the others are spared it."""

    __slots__ = (
        "broken",
        "counted",
        "disconnected",
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
        self.counted: tuple[type, int] | None = None  # which one was counted last
        self.trace: Trace | None = None
        self.resolve: Callable[[Any], str | None] | None = None
        self.promised_in = PROMISED  # the cell
