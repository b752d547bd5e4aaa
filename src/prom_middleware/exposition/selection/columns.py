"""Families taken apart: the series of one name, without the others of their family."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from prometheus_client import Metric as MetricFamily
from prometheus_client.utils import floatToGoString

from prom_middleware.exposition.selection.parameters import with_samples
from prom_middleware.instrumentation.families import BlockFamily, Row
from prom_middleware.stores import Labels

# What a series is without its family, by the family's type and the ending of the series' name.
TYPES = {
    ("counter", "_total"): "counter",
    ("gauge", ""): "gauge",
    ("stateset", ""): "gauge",
    ("info", "_info"): "gauge",
    **{(kind, "_created"): "gauge" for kind in ("counter", "histogram", "summary")},
}
UNTYPED = "unknown"
# Where a row has the number of each name, by the family's type and the ending of the name.
PLACES = {
    "counter": {"_total": 0},
    "info": {"_info": 0},
    "histogram": {"_count": -2, "_sum": -1},
    "summary": {"_count": 0, "_sum": 1},
}


def series_family(family: MetricFamily, name: str) -> MetricFamily:
    """Return a family for the series of one name, without them."""
    found = with_samples(family, [])
    found.type = TYPES.get((family.type, name.removeprefix(family.name)), UNTYPED)
    if found.type != family.type:
        found.name, found.unit = name, ""
    return found


def columns(family: BlockFamily, labels: Mapping[str, str]) -> Iterator[tuple[str, BlockFamily]]:
    """Yield each name that a family's samples have, and a family of these alone.

    Rows have `labels` as well, those of them that they do not have.
    """
    names, texts = _with(family, labels)
    if family.type == "histogram":
        edges = [(*texts, edge) for edge in (*map(floatToGoString, family.bounds), "+Inf")]
        yield _column(family, "_bucket", (*names, "le"), lambda: _buckets(family, edges))
    for ending, place in PLACES.get(family.type, {"": 0}).items():
        yield _column(family, ending, names, partial(_numbers, family, texts, place))
    if family.shows_created:
        yield _column(family, "_created", names, lambda: _created(family, texts))


def native_column(family: BlockFamily, labels: Mapping[str, str]) -> BlockFamily:
    """Return a family of the native histograms alone, as what a selector takes for single series.

    Its rows are whole: with the type of `family`, it is written as histograms without bounds.
    """
    names, texts = _with(family, labels)
    column = BlockFamily(family, names, (), partial(_natives, family, texts))
    column.type = UNTYPED
    return column


def _with(family: BlockFamily, labels: Mapping[str, str]) -> tuple[Labels, Labels]:
    """Return the names that rows have with `labels`, and the values of those that they lack."""
    added = {name: text for name, text in labels.items() if name not in family.label_names}
    return (*family.label_names, *added), tuple(added.values())


def _column(
    family: BlockFamily, ending: str, names: Labels, rows: Callable[[], Iterable[Row]]
) -> tuple[str, BlockFamily]:
    name = family.name + ending
    return name, BlockFamily(series_family(family, name), names, (), rows)


def _buckets(family: BlockFamily, edges: Sequence[Labels]) -> Iterable[Row]:
    for row in family.rows():
        for edge, count in zip(edges, row.values, strict=False):  # a count and a sum come after
            yield Row(row.labels + edge, (count,))


def _numbers(family: BlockFamily, texts: Labels, place: int) -> Iterable[Row]:
    for row in family.rows():
        yield Row(row.labels + texts, (row.values[place],))


def _natives(family: BlockFamily, texts: Labels) -> Iterable[Row]:
    for row in family.rows():
        if row.native:
            yield Row(row.labels + texts, row.values[-3:], native=row.native)


def _created(family: BlockFamily, texts: Labels) -> Iterable[Row]:
    for row in family.rows():
        yield Row(row.labels + texts, (row.created,))
