"""Which trace a request belongs to: OpenTelemetry's current span's, else its header's.

OpenTelemetry is asked only where the application has imported it; the header is that of
https://www.w3.org/TR/trace-context/. In either case only a trace that is sampled counts, since
nobody could look up another. A trace is one number here: its id, and behind it the 64 bits of the
span's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextvars import ContextVar

TRACING = "opentelemetry.trace"
_CONTEXT = "opentelemetry.context"

# The header, as the servers' interfaces spell it.
TRACEPARENT = "traceparent"
RAW_TRACEPARENT = TRACEPARENT.encode()
HTTP_TRACEPARENT = "HTTP_TRACEPARENT"

SPAN_BITS = 64
_SAMPLED = 1
# Version, trace id, parent id, flags, and what a later version may add; lower case only.
_PARENT = (
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]([0-9a-f])(-.*)?"
)


def parent_trace(header: str | bytes | int | None) -> int | None:
    """Return the trace of a `traceparent` header, or None if it is malformed or not sampled.

    What is a trace already is returned as it is.
    """
    if header is None or isinstance(header, int):
        return header
    text = header if isinstance(header, str) else header.decode("latin-1")
    found = re.fullmatch(_PARENT, text.strip(" \t"))
    if found is None or not int(found[4], 16) & _SAMPLED:
        return None
    if found[5] is not None and found[1] == "00":
        return None
    return int(found[2] + found[3], 16)


def context_reader() -> Callable[[], object] | None:
    """Return what gives OpenTelemetry's current context, None while it is being imported.

    Without a current span, the context is empty as a rule: asking costs a third of `span_trace`.
    """
    context = sys.modules.get(_CONTEXT)
    # What the public function comes to, and no more: a quarter of the time, where it is there.
    runtime = getattr(context, "_RUNTIME_CONTEXT", None)
    variable = getattr(runtime, "_current_context", None)
    if isinstance(variable, ContextVar):
        return variable.get
    return getattr(runtime, "get_current", None) or getattr(context, "get_current", None)


def span_trace(begun: float) -> int | None:
    """Return the trace of OpenTelemetry's current span, if it is recorded and sampled.

    What owns the span may stand further out and end it with the last message, before its `send`
    returns to us. One that ended before the request had `begun`, in Unix seconds, is not its own:
    a server may have been started in it.
    """
    ask = getattr(sys.modules.get(TRACING), "get_current_span", None)
    if ask is None:  # it is being imported
        return None
    span = ask()
    context = span.get_span_context()
    if not (context.is_valid and context.trace_flags & _SAMPLED):
        return None
    if not span.is_recording() and (getattr(span, "end_time", None) or 0) < begun * 1e9:
        return None
    trace: int = context.trace_id << SPAN_BITS | context.span_id
    return trace
