"""Cells that are written while the process works: garbage collection and event loops.

Written in the store's turn, as requests are: the garbage collector may call us in the middle of
any other code, that of the store included, and then nothing may wait or take a lock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from prom_middleware.stores import Family, Labels, Snapshot, Store


class Durations:
    """A histogram in a store; `extra` more numbers stand between its sum and its buckets."""

    def __init__(
        self,
        name: str,
        documentation: str,
        label_names: Labels,
        bounds: tuple[float, ...],
        extra: int = 0,
    ) -> None:
        self.documentation = documentation
        self._first = 1 + extra
        width = self._first + len(bounds) + 1
        self.family = Family(name, label_names, width, bounds=bounds)

    def observe(
        self, store: Store, labels: Labels, seconds: float, extra: Sequence[float] = ()
    ) -> None:
        """Add one value, and to the extra numbers; the turn is held."""
        offset = store.allocate(self.family, labels)
        cells = store.cells
        cells[offset + self._first + bisect_left(self.family.bounds, seconds)] += 1
        cells[offset] += seconds
        for index, number in enumerate(extra, offset + 1):
            cells[index] += number

    def beside(self, snapshot: Snapshot, place: int) -> Iterator[tuple[Labels, float]]:
        """Yield one of the extra numbers of each label set."""
        for labels, block in snapshot.read(self.family):
            yield labels, block[1 + place]

    def counts(self, snapshot: Snapshot) -> Iterator[tuple[Labels, float]]:
        """Yield how often something was observed, by label set."""
        for labels, block in snapshot.read(self.family):
            yield labels, sum(block[self._first :])

    def shown(self, snapshot: Snapshot) -> Iterator[HistogramMetricFamily]:
        """Yield the family, if anything was observed."""
        family = self.described()
        edges = [*map(floatToGoString, self.family.bounds), "+Inf"]
        for labels, block in sorted(snapshot.read(self.family)):
            buckets = list(zip(edges, accumulate(block[self._first :]), strict=True))
            family.add_metric(labels, buckets, block[0])
        if family.samples:
            yield family

    def described(self) -> HistogramMetricFamily:
        """Return the family without samples."""
        labels = self.family.label_names
        return HistogramMetricFamily(self.family.name, self.documentation, labels=labels)


def has_slot(store: Store) -> bool:
    """Tell whether this process has written to the store, and so is one of its workers.

    A server's master that has loaded the application is none, and must not become one because its
    garbage was collected.
    """
    if not store.shared:
        return True
    from prom_middleware.stores.multiprocess.cells import Unbound

    return not isinstance(store.cells, Unbound)
