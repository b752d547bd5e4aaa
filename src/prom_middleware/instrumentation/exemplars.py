"""Exemplars: to which trace a request belonged, one for each bucket of a histogram.

An exemplar is 7 cells in a block of its own, so that it is shown whichever worker is asked: time
(Unix seconds), value, trace id and span id, whose 192 bits are exactly 4 whole numbers of 48, and a
checksum. Another process may read them while they are written, and the writer may be killed:
what does not match its checksum is passed over until the next one is written.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from time import perf_counter, time
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from prom_middleware import failures
from prom_middleware.instrumentation.tracing import (
    TRACING,
    context_reader,
    parent_trace,
    span_trace,
)
from prom_middleware.stores import Family

if TYPE_CHECKING:
    from prom_middleware.instrumentation.at_hand import AtHand
    from prom_middleware.instrumentation.observation import Observation
    from prom_middleware.instrumentation.series import Histogram, SeriesSet
    from prom_middleware.stores import Labels, Snapshot, Store

# Seconds, as in client_java (ExemplarSamplerConfig). A younger exemplar does not replace one before
# this age: under load, an exemplar costs a look at its age and no more, and a scraper that comes
# every few seconds gets to see each one.
MIN_RETENTION = 7.0
# An older one is not shown: by then a scraper has it, and the trace may be gone from where traces
# are kept.
MAX_RETENTION = 70.0

WIDTH = 7
TIME, VALUE, IDS, CHECKSUM = 0, 1, 2, 6
CELL_BITS = 48
_CELL = (1 << CELL_BITS) - 1
_SHIFTS = (144, 96, 48, 0)


class Seen(NamedTuple):
    """An exemplar: Unix seconds, seconds of the request, and the ids as the number that they are.

    `trace` is the trace id, and behind it the 64 bits of the span id.
    """

    time: float
    value: float
    trace: int

    def labels(self) -> dict[str, str]:
        """Return the labels, 63 characters of the 128 that OpenMetrics allows."""
        ids = f"{self.trace:048x}"
        return {"trace_id": ids[:32], "span_id": ids[32:]}


class Home:
    """Where the exemplars of one histogram are. At hand, since a `Family` is slow to look up."""

    __slots__ = ("edges", "family", "first", "offsets", "shown")

    def __init__(self, store: Store, series: Histogram) -> None:
        self.family = family = exemplar_family(series)
        self.offsets = store.offsets(family)
        self.edges, self.first, self.shown = series.edges, series.first, series.shown


class Exemplars:
    """Keep the exemplars of one registry's requests in the store."""

    def __init__(self, store: Store, series: SeriesSet) -> None:
        self._store = store
        self._requests, self._streams = Home(store, series.requests), Home(store, series.streams)
        self.families = {
            series.requests.family: self._requests.family,
            series.streams.family: self._streams.family,
        }

    def find_context(self, core: AtHand) -> object:
        """Find what tells whether a span may be current, and ask it: `core.context`."""
        try:
            core.context = context_reader()
            return core.context is not None and core.context()
        except Exception as error:
            failures.report("exemplar", error)
            return None

    def hold(self, observation: Observation) -> None:
        """Remember the current span, the first one: when the request ends, it may not be that."""
        try:
            core = observation.core
            context = core.context
            is_current = self.find_context(core) if context is None else context()
            if is_current and not isinstance(observation.trace, int):
                observation.trace = span_trace(_begun(observation))
        except Exception as error:
            failures.report("exemplar", error)

    def note(self, observation: Observation, labels: Labels, seconds: float, here: bool) -> None:
        """Have the request as exemplar of its bucket, if that has none or an older one.

        The store's turn must be ours. The current span is the request's where we are `here`, and
        not carrying out what another thread has left.
        """
        try:
            home, rare = self._requests, observation.rare
            if rare is not None and rare.event_stream:
                home, labels = self._streams, (labels[1], *labels[3:])
            offset = home.offsets.get(labels)
            if offset is None:
                labels = home.shown(labels)
                offset = home.offsets.get(labels)
            place, now = WIDTH * (bisect_left(home.edges, seconds) - home.first), time()
            if offset is not None and _is_young(now - self._store.cells[offset + place]):
                return
            trace = observation.trace
            if here and not isinstance(trace, int) and TRACING in sys.modules:
                trace = span_trace(_begun(observation)) or trace
            trace = parent_trace(trace)
            if trace is not None:
                offset = self._store.allocate(home.family, labels)
                write(self._store, offset + place, Seen(now, seconds, trace))
        except Exception as error:
            failures.report("exemplar", error)


def _begun(observation: Observation) -> float:
    # Not by the seconds that were recorded: a first label set takes its time after those.
    return time() - (perf_counter() - observation.started)


def _is_young(age: float) -> bool:
    return 0 <= age < MIN_RETENTION  # less than 0: the clock was set back, or somebody wrote noise


def exemplar_family(series: Histogram) -> Family:
    """Return the family of the exemplars of a histogram: in each block, one for each bucket."""
    family = series.family
    width = WIDTH * (len(series.edges) - series.first + 1)
    return Family(
        *(family.name, family.label_names, width),
        scope=family.scope,
        bounds=family.bounds,
        kind="exemplars",
    )


def write(store: Store, place: int, seen: Seen) -> None:
    """Write an exemplar to the cells from `place` on; the store's turn must be ours."""
    copy = [seen.time, seen.value, *(float(seen.trace >> bits & _CELL) for bits in _SHIFTS)]
    cells = store.cells
    for index, cell in enumerate([*copy, _checksum(copy)], place):
        cells[index] = cell


def _checksum(copy: Sequence[float]) -> float:
    return float(crc32(array("d", copy).tobytes()))


def read_exemplars(snapshot: Snapshot, family: Family) -> dict[Labels, dict[int, Seen]]:
    """Return what is to be shown now of a family of exemplars: the youngest, by their buckets."""
    now = time()
    shown: dict[Labels, dict[int, Seen]] = {}
    for labels, written in snapshot.each(family):
        for _, block in written:
            for bucket, seen in _read(block, now - MAX_RETENTION, now):
                found = shown.setdefault(labels, {})
                if bucket not in found or found[bucket].time < seen.time:
                    found[bucket] = seen
    return shown


def _read(block: Sequence[float], oldest: float, now: float) -> Iterator[tuple[int, Seen]]:
    for start in range(0, len(block), WIDTH):
        when, value, *ids = block[start : start + CHECKSUM]
        # Later than now: the clock was set back. By it, every younger one would be older.
        if not oldest <= when <= now or block[start + CHECKSUM] != _checksum([when, value, *ids]):
            continue
        trace = sum(int(part) << bits for part, bits in zip(ids, _SHIFTS, strict=True))
        yield start // WIDTH, Seen(when, value, trace)
