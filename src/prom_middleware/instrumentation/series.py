"""What is recorded: each kind of series, the layout of its block, and the cardinality guard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prom_middleware.stores import Family, Labels, Store

OVERFLOW = "<overflow>"

# prometheus_client's default bounds, less +Inf; seconds.
DEFAULT_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)
# For what stays open: event streams and websockets; a second to a day.
LONG_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0)


class Series:
    """The blocks of one family: at most `max_series` of them, and one more for all others.

    Without `overflows` there is no limit: such label values come from us, not from a client.
    """

    def __init__(
        self, store: Store, family: Family, max_series: int = 0, overflows: Series | None = None
    ) -> None:
        self.family = family
        self.max_series = max_series
        self.offsets: Mapping[Labels, int] = store.offsets(family)
        self._store = store
        self._overflows = overflows

    def offset(self, labels: Labels) -> int:
        """Return the first cell of the block for `labels`; the recorder's lock must be held."""
        offset = self.offsets.get(labels)
        if offset is not None:
            return offset
        if self._overflows is None or len(self.offsets) < self.max_series:
            return self._store.allocate(self.family, labels)
        counter = self._overflows.offset((self.family.name,))
        self._store.cells[counter] += 1
        return self._store.allocate(self.family, (OVERFLOW,) * len(labels))


class Histogram(Series):
    """A block with a cell for each bound, one for +Inf and one for the sum.

    The count is the sum of the buckets, made at the scrape, so that the two can never disagree.
    """

    def __init__(
        self,
        store: Store,
        family: Family,
        bounds: Sequence[float],
        max_series: int = 0,
        overflows: Series | None = None,
    ) -> None:
        super().__init__(store, family, max_series, overflows)
        self.bounds = tuple(bounds)
        self.sum = len(bounds) + 1


class Requests(Histogram):
    """All that is known of the requests with one method, route and status.

    After the histogram: responses that are event streams, which have no latency but count as
    requests, and the bytes of the bodies received and sent.
    """

    def __init__(
        self,
        store: Store,
        family: Family,
        bounds: Sequence[float],
        max_series: int = 0,
        overflows: Series | None = None,
    ) -> None:
        super().__init__(store, family, bounds, max_series, overflows)
        self.streams = self.sum + 1
        self.received = self.sum + 2
        self.sent = self.sum + 3


class Schema(NamedTuple):
    """What all doors on one registry must agree on."""

    presets: tuple[str, ...]
    bounds: tuple[float, ...]
    extra_labels: Labels


class SeriesSet:
    """Every series of one registry. A family is named as its first metric is."""

    def __init__(self, store: Store, schema: Schema, max_series: int) -> None:
        bounds, extra = schema.bounds, schema.extra_labels
        width, long_width = len(bounds) + 2, len(LONG_BUCKETS) + 2
        self.schema = schema
        self.overflows = over = Series(store, Family("series_overflow", ("metric",), 1))

        def counter(name: str, *label_names: str) -> Series:
            return Series(store, Family(name, label_names, 1), max_series, over)

        self.requests = Requests(
            store,
            Family("requests", ("method", "route", "status", *extra), width + 3),
            bounds,
            max_series,
            over,
        )
        self.in_progress = Series(store, Family("in_progress", ("method",), 1, live=True))
        self.exceptions = counter("exceptions", "method", "route", "exception", *extra)
        self.aborted = counter("aborted", "method", "route", "reason", *extra)
        self.streams = Histogram(
            store, Family("streams", ("route", *extra), long_width), LONG_BUCKETS, max_series, over
        )
        self.queue = Histogram(store, Family("queue", (), width), bounds)
        self.websockets = counter("websockets", "route", "status", "code")
        self.websockets_open = Series(store, Family("websockets_open", (), 1, live=True))
        self.websocket_durations = Histogram(
            store,
            Family("websocket_durations", ("route",), long_width),
            LONG_BUCKETS,
            max_series,
            over,
        )
        self.websocket_messages = counter("websocket_messages", "route", "direction")
        self.scrapes = Series(store, Family("scrapes", ("code",), 1))
        self.scrape_durations = Histogram(
            store, Family("scrape_durations", (), len(DEFAULT_BUCKETS) + 2), DEFAULT_BUCKETS
        )

    def limit(self, max_series: int) -> None:
        """Raise every limit to `max_series`, for a door that allows more than the ones before."""
        for series in vars(self).values():
            if isinstance(series, Series):
                series.max_series = max(series.max_series, max_series)
