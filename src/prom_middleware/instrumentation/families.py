"""Metric families that are made from blocks of cells: rows of numbers, which a format writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from prometheus_client.core import Metric as MetricFamily
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from prom_middleware.stores import Labels


class Native(NamedTuple):
    """A native histogram's buckets: counts, not cumulative, by their index at `schema`.

    Bucket i ends at 2 ** (i / 2 ** schema), inclusive. What is not greater than `zero_threshold`
    is in `zero_count`. https://prometheus.io/docs/specs/native_histograms/
    """

    schema: int
    zero_threshold: float
    zero_count: float
    buckets: Mapping[int, float]


class Row(NamedTuple):
    """One label set of a family.

    `values` are floats: the one of a counter or gauge; of a histogram, the cumulative buckets up to
    +Inf, the count and the sum; of a summary, the count and the sum. `created` is in Unix seconds,
    0 where it is not known. `exemplars` stand beside the values at their places.
    """

    labels: Labels
    values: Sequence[float]
    created: float = 0.0
    exemplars: Mapping[int, Exemplar] | None = None
    native: Native | None = None


class BlockFamily(MetricFamily):
    """A family that is a table of rows; its samples are made when somebody asks for them.

    `rows` gives an iterator over them each time that it is called. As in `prometheus_client`, the
    `name` of a counter has no `_total`. `bounds` are a histogram's, without +Inf. Where
    `shows_created` is set, `_created` is shown as a sample in formats that have no other place.
    Families that have the same label sets have the same `kept`, in which a format may keep what it
    makes of them, from scrape to scrape. `numbers`, where there is one, gives labels and values of
    the rows, for formats that show nothing else of them. `milliseconds` is the Unix time of all
    rows where it is to be shown, in the text format and in protobuf.
    """

    numbers: Callable[[], Iterable[tuple[Labels, Sequence[float]]]] | None = None
    shows_created = False
    milliseconds: int | None = None
    kept: dict[str, Any] | None = None

    def __init__(
        self,
        family: MetricFamily,
        label_names: Labels,
        bounds: Sequence[float],
        rows: Callable[[], Iterable[Row]],
    ) -> None:
        super().__init__(family.name, family.documentation, family.type, family.unit)
        self._made: Sequence[Sample] | None = None
        self.label_names = label_names
        self.bounds = bounds
        self.rows = rows

    @property
    def samples(self) -> Any:
        """Return the samples."""
        if self._made is None:
            make = SAMPLES.get(self.type, _number_samples)
            self._made = [sample for row in self.rows() for sample in make(self, row)]
        return self._made

    @samples.setter
    def samples(self, samples: Any) -> None:
        self._made = samples


def _number_samples(family: BlockFamily, row: Row) -> Iterator[Sample]:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = dict(zip(family.label_names, row.labels, strict=True))
    yield Sample(name, labels, row.values[0], None, (row.exemplars or {}).get(0))
    yield from _created_samples(family, labels, row)


def _histogram_samples(family: BlockFamily, row: Row) -> Iterator[Sample]:
    labels = dict(zip(family.label_names, row.labels, strict=True))
    exemplars = row.exemplars or {}
    *buckets, count, total = row.values
    edges = [*map(floatToGoString, family.bounds), "+Inf"]
    for place, (edge, number) in enumerate(zip(edges, buckets, strict=True)):
        bucket = {**labels, "le": edge}
        yield Sample(f"{family.name}_bucket", bucket, number, None, exemplars.get(place))
    yield Sample(f"{family.name}_count", labels, count)
    yield Sample(f"{family.name}_sum", labels, total)
    yield from _created_samples(family, labels, row)


def _summary_samples(family: BlockFamily, row: Row) -> Iterator[Sample]:
    labels = dict(zip(family.label_names, row.labels, strict=True))
    yield Sample(f"{family.name}_count", labels, row.values[0])
    yield Sample(f"{family.name}_sum", labels, row.values[1])
    yield from _created_samples(family, labels, row)


def _created_samples(family: BlockFamily, labels: dict[str, str], row: Row) -> Iterator[Sample]:
    if family.shows_created:
        yield Sample(f"{family.name}_created", labels, row.created)


SAMPLES = {"histogram": _histogram_samples, "summary": _summary_samples}


def histogram_values(block: Sequence[float], first: int) -> list[float]:
    """Return a histogram's numbers: cumulative buckets, count and sum."""
    values = list(accumulate(block[first:], initial=0.0))
    del values[0]
    values += [values[-1], block[0] + 0.0]
    return values
