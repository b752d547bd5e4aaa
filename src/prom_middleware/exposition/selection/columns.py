"""Families taken apart: the series of one name, without the others of their family."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest

from prometheus_client import Metric as MetricFamily
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from prom_middleware.exposition.formats.label_sets import INNER
from prom_middleware.exposition.formats.points import is_native
from prom_middleware.exposition.selection.parameters import SLICE, with_samples
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


def family_of(sample: Sample, family: MetricFamily) -> MetricFamily:
    """Return a family for the series that are called as `sample`, without them."""
    return with_samples(family, []) if is_native(sample) else series_family(family, sample.name)


def whole_points(
    family: MetricFamily, selected: MetricFamily
) -> Generator[None, None, list[MetricFamily]]:
    """Return what was selected of `family` in families that have all samples of a label set.

    For formats with one value for all of them, in which those that are missing would be zeros.
    Yields now and then.
    """
    if selected is family or isinstance(selected, BlockFamily):
        return [selected]
    chosen = {(one.name, frozenset((one.labels or {}).items())) for one in selected.samples}
    begun: set[frozenset[tuple[str, str]]] = set()
    missing: set[frozenset[tuple[str, str]]] = set()
    inner = INNER.get(family.type)
    for number, sample in enumerate(family.samples):
        pairs = (sample.labels or {}).items()
        labels = frozenset(pair for pair in pairs if pair[0] != inner)
        if (sample.name, frozenset(pairs)) in chosen:
            begun.add(labels)
        elif not sample.name.endswith("_created"):
            missing.add(labels)
        if number % SLICE == SLICE - 1:
            yield
    return [selected] if begun.isdisjoint(missing) else _apart(family, selected)


def _apart(family: MetricFamily, selected: MetricFamily) -> list[MetricFamily]:
    found: dict[str, MetricFamily] = {}
    for sample in selected.samples:
        found.setdefault(sample.name, family_of(sample, family)).samples.append(sample)
    return list(found.values())


def columns(family: BlockFamily) -> Iterator[tuple[str, BlockFamily]]:
    """Yield each name that a family's samples have, and a family of these alone."""
    if family.type == "histogram":
        edges = [(edge,) for edge in (*map(floatToGoString, family.bounds), "+Inf")]
        names = (*family.label_names, "le")
        yield _column(family, "_bucket", names, partial(_buckets, family, edges))
    for ending, place in PLACES.get(family.type, {"": 0}).items():
        yield _column(family, ending, family.label_names, partial(_numbers, family, place))
    if family.shows_created:
        yield _column(family, "_created", family.label_names, partial(_created, family))


def native_column(family: BlockFamily) -> BlockFamily:
    """Return a family of the native histograms alone, as what a selector takes for single series.

    Its rows are whole: with the type of `family`, it is written as histograms without bounds.
    """
    column = BlockFamily(family, family.label_names, (), partial(_natives, family))
    column.type = UNTYPED
    return column


def labelled(family: BlockFamily, labels: Mapping[str, str]) -> BlockFamily:
    """Return a family whose rows have `labels` as well, where they have none of that name.

    An empty label is none; https://prometheus.io/docs/concepts/data_model/
    """
    if not labels:
        return family
    names = (*family.label_names, *(name for name in labels if name not in family.label_names))
    added = [labels.get(name, "") for name in names]
    found = copy.copy(family)
    found.label_names = names
    found.rows = partial(_filled, family, added)
    return found


def _filled(family: BlockFamily, added: Sequence[str]) -> Iterator[Row]:
    for row in family.rows():
        pairs = zip_longest(row.labels, added, fillvalue="")
        yield row._replace(labels=tuple([own or other for own, other in pairs]))


def _column(
    family: BlockFamily, ending: str, names: Labels, rows: Callable[[], Iterable[Row]]
) -> tuple[str, BlockFamily]:
    name = family.name + ending
    return name, BlockFamily(series_family(family, name), names, (), rows)


def _buckets(family: BlockFamily, edges: Sequence[Labels]) -> Iterable[Row]:
    for row in family.rows():
        for edge, count in zip(edges, row.values, strict=False):  # a count and a sum come after
            yield Row(row.labels + edge, (count,))


def _numbers(family: BlockFamily, place: int) -> Iterable[Row]:
    for row in family.rows():
        yield Row(row.labels, (row.values[place],))


def _natives(family: BlockFamily) -> Iterable[Row]:
    for row in family.rows():
        if row.native:
            yield Row(row.labels, row.values[-3:], native=row.native)


def _created(family: BlockFamily) -> Iterable[Row]:
    for row in family.rows():
        yield Row(row.labels, (row.created,))
