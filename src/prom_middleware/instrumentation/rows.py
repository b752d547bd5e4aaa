"""From blocks to rows: what a metric shows of the cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client.samples import Exemplar

from prom_middleware import failures
from prom_middleware.instrumentation.exemplars import Seen, read_exemplars
from prom_middleware.instrumentation.families import Row, histogram_values
from prom_middleware.instrumentation.series import is_recorded

if TYPE_CHECKING:
    from prom_middleware.instrumentation.exemplars import Exemplars
    from prom_middleware.instrumentation.presets import Metric
    from prom_middleware.instrumentation.series import Histogram
    from prom_middleware.stores import Family, Labels, Snapshot

Block = tuple["Labels", list[float]]


class View:
    """A snapshot; what several metrics read of it is made once."""

    def __init__(self, snapshot: Snapshot, exemplars: Exemplars) -> None:
        self.created, self.sums = snapshot.created, snapshot.sums
        self._snapshot = snapshot
        self._homes = exemplars.families
        self._blocks: dict[Family, list[Block]] = {}
        self._exemplars: dict[Family, Mapping[Labels, Mapping[int, Seen]]] = {}

    def blocks(self, family: Family) -> Iterable[Block]:
        """Return the blocks of a family, summed over all workers; once, where that takes time."""
        if not self.sums:
            return self._snapshot.read(family)
        if family not in self._blocks:
            self._blocks[family] = list(self._snapshot.read(family))
        return self._blocks[family]

    def exemplars(self, family: Family) -> Mapping[Labels, Mapping[int, Seen]]:
        """Return the exemplars of a family's label sets, by their buckets."""
        if family not in self._exemplars:
            self._exemplars[family] = self._read_exemplars(family)
        return self._exemplars[family]

    def _read_exemplars(self, family: Family) -> Mapping[Labels, Mapping[int, Seen]]:
        home = self._homes.get(family)
        try:
            return {} if home is None else read_exemplars(self._snapshot, home)
        except Exception as error:  # the numbers can do without
            failures.report("exemplar", error)
            return {}


def histogram_rows(view: View, series: Histogram) -> Iterator[Row]:
    """Yield what a histogram shows; each bucket with its exemplar."""
    family, first, created = series.family, series.first, view.created
    traced, native = view.exemplars(family), None
    if series.native:
        from prom_middleware.instrumentation.native import native_of  # few registries have any
    for labels, block in view.blocks(family):
        if series.native:
            block, cells = _agreed(series, block)
            native = native_of(cells)
        values = histogram_values(block, first)
        if not values[-2]:
            continue
        seen = traced.get(labels)
        shown = None if seen is None else {place: _exemplar(one) for place, one in seen.items()}
        yield Row(labels, values, created(family, labels), shown, native)


def histogram_numbers(view: View, series: Histogram) -> Iterator[tuple[Labels, list[float]]]:
    """Yield labels and values of what a histogram shows."""
    first, native = series.first, series.native
    for labels, block in view.blocks(series.family):
        values = histogram_values(_agreed(series, block)[0] if native else block, first)
        if values[-2]:
            yield labels, values


def _agreed(series: Histogram, block: list[float]) -> tuple[list[float], list[float]]:
    """Return the cells of the classic and of the native histogram, with the same count.

    Where one of them misses some, for the scrape came in between, they are slower than any other.
    """
    classic, native = block[: series.stop], block[series.native :]
    missing = sum(native) - sum(classic[series.first :])
    (classic if missing > 0 else native)[-1] += abs(missing)
    return classic, native


def number_rows(view: View, metric: Metric, series: Any) -> Iterator[Row]:
    """Yield what a counter or a gauge shows, with the youngest exemplar of what it counts."""
    family, created = series.family, view.created
    traced = view.exemplars(family) if metric.traced else {}
    for labels, values in numbers(view, metric, series):
        shown = _youngest(traced[labels]) if labels in traced else None
        yield Row(labels, values, created(family, labels), shown)


def numbers(view: View, metric: Metric, series: Any) -> Iterator[tuple[Labels, tuple[float]]]:
    """Yield labels and value of what a counter or a gauge shows."""
    cells = metric.cells
    # One that is only promised is none yet; promises are made where processes share a store.
    promised = metric.source == "requests" and view.sums
    for labels, block in view.blocks(series.family):
        if promised and not is_recorded(block):
            continue
        yield labels, (cells(series, block) + 0.0,)


def _youngest(seen: Mapping[int, Seen]) -> Mapping[int, Exemplar] | None:
    youngest = max(seen.values(), key=lambda one: one.time, default=None)
    # Of a counter, an exemplar is what was added.
    return None if youngest is None else {0: _exemplar(youngest._replace(value=1.0))}


def _exemplar(seen: Seen) -> Exemplar:
    return Exemplar(seen.labels(), seen.value, seen.time)
