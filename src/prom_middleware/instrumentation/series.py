"""What is recorded: each kind of series, the layout of its block, and the cardinality guard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from prom_middleware.instrumentation.at_hand import PROMISED, PROMISED_STREAMS, STREAMS
from prom_middleware.stores import Family, Labels, Settlement

if TYPE_CHECKING:
    from prom_middleware.stores import Store

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

    def offset(self, labels: Labels, counted: bool = True) -> int:
        """Return the first cell of the block for `labels`; the store's turn must be ours.

        What goes into the overflow series is `counted`, unless it is only half of an update.
        """
        offset = self.offsets.get(labels)
        if offset is not None:
            return offset
        overflow = (OVERFLOW,) * len(labels)
        # It may be there before the limit is reached: with a lower one, or in a kept directory.
        real = len(self.offsets) - (overflow in self.offsets)
        if self._overflows is None or real < self.max_series:
            return self._store.allocate(self.family, labels)
        if counted:
            counter = self._overflows.offset((self.family.name,))
            self._store.cells[counter] += 1
        return self._store.allocate(self.family, overflow)

    def shown(self, labels: Labels) -> Labels:
        """Return the labels of the block that is counted in, `labels` or the overflow's."""
        return labels if labels in self.offsets else (OVERFLOW,) * len(labels)


class Histogram(Series):
    """A block with the sum, and after the cells that a subclass adds, one for each bound and +Inf.

    The count is the sum of the buckets, made at the scrape, so that the two can never disagree.
    `edges` are the bounds with a filling before them, so that `bisect` finds the cell itself. In a
    block that is wider than that, the last cells are a native histogram: `native` is the first of
    them, else 0, and `native_bounds` are their bounds.
    """

    first = 1  # the cell of the lowest bucket

    def __init__(
        self,
        store: Store,
        family: Family,
        max_series: int = 0,
        overflows: Series | None = None,
    ) -> None:
        super().__init__(store, family, max_series, overflows)
        self.edges = (-inf,) * self.first + family.bounds
        self.stop = len(self.edges) + 1
        self.native, self.native_bounds = 0, self.edges
        if family.width > self.stop:
            from prom_middleware.instrumentation.native import BOUNDS, WIDTH  # few doors have any

            self.native, self.native_bounds = family.width - WIDTH, BOUNDS


class Requests(Histogram):
    """All that is known of the requests with one method, route and status.

    Before the buckets: the bytes of the bodies sent and received; the responses that are event
    streams, which have no latency but count as requests; and those that began, event streams by
    themselves, counted only where another process may have to tell of it. One that a dead worker
    did not finish counts as slower than every bound, in both histograms.
    """

    first = 6


def is_recorded(block: Sequence[float]) -> bool:
    """Tell whether there is a response in a block of requests, not only a promise of one."""
    return any(block[Requests.first :]) or block[STREAMS] > 0


def _histogram(
    scope: str, name: str, labels: Labels, bounds: Sequence[float], native: int
) -> Family:
    width = Histogram.first + len(bounds) + 1 + native
    return Family(name, labels, width, scope=scope, bounds=tuple(bounds))


def _requests(scope: str, labels: Labels, bounds: Sequence[float], native: int) -> Family:
    last = Requests.first + len(bounds)
    width = last + 1 + native
    again = (last + 1, width) if native else ()
    kept, apart = tuple(range(Requests.first, last + 1)), (PROMISED_STREAMS, STREAMS)
    family = Family("requests", labels, width, scope=scope, bounds=tuple(bounds))
    return family._replace(settlement=Settlement(PROMISED, kept, last, again, apart))


class Schema(NamedTuple):
    """What all doors on one registry must agree on."""

    presets: tuple[str, ...]
    bounds: tuple[float, ...]
    extra_labels: Labels
    native_histograms: bool = False

    @property
    def native_width(self) -> int:
        """Return how many cells a native histogram has, 0 where there is none."""
        if not self.native_histograms:
            return 0
        from prom_middleware.instrumentation.native import WIDTH

        return WIDTH


class SeriesSet:
    """Every series of one registry. A family is named as its first metric is."""

    def __init__(self, store: Store, schema: Schema, max_series: int, scope: str = "") -> None:
        bounds, extra, native = schema.bounds, schema.extra_labels, schema.native_width
        self.schema = schema
        overflows = Family("series_overflow", ("metric",), 1, scope=scope)
        self.overflows = over = Series(store, overflows)

        def counter(name: str, *label_names: str) -> Series:
            return Series(store, Family(name, label_names, 1, scope=scope), max_series, over)

        def gauge(name: str, *label_names: str) -> Series:
            return Series(store, Family(name, label_names, 1, live=True, scope=scope))

        def histogram(name: str, *label_names: str) -> Histogram:
            family = _histogram(scope, name, label_names, LONG_BUCKETS, native)
            return Histogram(store, family, max_series, over)

        requests = _requests(scope, ("method", "route", "status", *extra), bounds, native)
        self.requests = Requests(store, requests, max_series, over)
        self.in_progress = gauge("in_progress", "method")
        self.exceptions = counter("exceptions", "method", "route", "exception", *extra)
        self.aborted = counter("aborted", "method", "route", "reason", *extra)
        self.streams = histogram("streams", "route", *extra)
        self.queue = Histogram(store, _histogram(scope, "queue", (), bounds, native))
        self.websockets = counter("websockets", "route", "status", "code")
        self.websockets_open = gauge("websockets_open")
        self.websocket_durations = histogram("websocket_durations", "route")
        self.websocket_messages = counter("websocket_messages", "route", "direction")
        self.scrapes = Series(store, Family("scrapes", ("code",), 1, scope=scope))
        scrape_durations = _histogram(scope, "scrape_durations", (), DEFAULT_BUCKETS, 0)
        self.scrape_durations = Histogram(store, scrape_durations)

    def limit(self, max_series: int) -> None:
        """Raise every limit to `max_series`, for a door that allows more than the ones before."""
        for series in vars(self).values():
            if isinstance(series, Series):
                series.max_series = max(series.max_series, max_series)
