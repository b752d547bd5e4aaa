"""Names: which metrics are made from which series, with their types and help texts.

A preset is a table. `source` is the attribute of `SeriesSet` whose blocks a metric reads; `cells`
picks the counter's value from such a block; `traced` counters show an exemplar of the histogram
that has the same source.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prom_middleware.instrumentation.at_hand import RECEIVED, SENT, STREAMS

if TYPE_CHECKING:
    from prom_middleware.instrumentation.series import Requests

Block = list[float]


def _first(_: Any, block: Block) -> float:
    return block[0]


class Metric:
    """One metric family on /metrics; `name` is what its samples are called, `_total` included."""

    __slots__ = ("cells", "documentation", "name", "source", "traced", "type")

    def __init__(
        self,
        name: str,
        type_: str,
        documentation: str,
        source: str,
        cells: Callable[[Any, Block], float] = _first,
        traced: bool = False,
    ) -> None:
        self.name, self.type, self.documentation = name, type_, documentation
        self.source, self.cells, self.traced = source, cells, traced


def _responses(series: Requests, block: Block) -> float:
    return sum(block[series.first : series.stop]) + block[STREAMS]


def _received(_: Requests, block: Block) -> float:
    return block[RECEIVED]


def _sent(_: Requests, block: Block) -> float:
    return block[SENT]


DEFAULT = (
    Metric(
        "http_requests_total",
        "counter",
        "Requests that were answered, or given up by one side.",
        "requests",
        _responses,
        traced=True,
    ),
    Metric(
        "http_request_duration_seconds",
        "histogram",
        "Time from the request's arrival in the application to the last byte of the response.",
        "requests",
    ),
    Metric(
        "http_request_body_bytes_total",
        "counter",
        "Bytes of request bodies that the application received.",
        "requests",
        _received,
    ),
    Metric(
        "http_response_body_bytes_total",
        "counter",
        "Bytes of response bodies that were sent.",
        "requests",
        _sent,
    ),
    Metric(
        "http_requests_in_progress",
        "gauge",
        "Requests that have arrived and whose last byte was not sent yet.",
        "in_progress",
    ),
    Metric(
        "http_request_exceptions_total",
        "counter",
        "Exceptions that a request raised, by class name, also after its response was complete.",
        "exceptions",
    ),
    Metric(
        "http_responses_aborted_total",
        "counter",
        "Responses that were not sent whole, by reason.",
        "aborted",
    ),
    Metric(
        "http_stream_duration_seconds",
        "histogram",
        "How long responses of type text/event-stream were open.",
        "streams",
    ),
    Metric(
        "http_request_queue_seconds",
        "histogram",
        "Time between the proxy's X-Request-Start or X-Queue-Start and the application.",
        "queue",
    ),
    Metric(
        "websocket_connections_total",
        "counter",
        "Websocket connections that ended, by handshake status and close code.",
        "websockets",
    ),
    Metric(
        "websocket_connections_open",
        "gauge",
        "Websocket connections that are accepted and not closed yet.",
        "websockets_open",
    ),
    Metric(
        "websocket_connection_duration_seconds",
        "histogram",
        "Time from a websocket's acceptance to its end.",
        "websocket_durations",
    ),
    Metric(
        "websocket_messages_total",
        "counter",
        "Websocket messages, by direction.",
        "websocket_messages",
    ),
)

# About ourselves: the same under every preset.
OWN = (
    Metric(
        "prom_middleware_scrapes_total",
        "counter",
        "Scrapes that were answered before this one, by status code.",
        "scrapes",
    ),
    Metric(
        "prom_middleware_scrape_duration_seconds",
        "histogram",
        "Time that the scrapes before this one took.",
        "scrape_durations",
    ),
)

PRESETS = {"default": DEFAULT}
