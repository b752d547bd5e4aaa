"""What of a registry a scrape wants: `name[]=` and `match[]=`, whose results are united."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs

from prometheus_client import Metric as MetricFamily

from prom_middleware.exposition.formats.label_sets import INNER
from prom_middleware.exposition.refusals import SelectorError
from prom_middleware.exposition.selection.selectors import NAME, Selector, parse_selector
from prom_middleware.instrumentation.families import BlockFamily, Row

MAX_QUERY = 64 * 1024  # characters
MAX_FIELDS = 1000
MAX_SELECTORS = 100
# Forms that a person asks for with `?debug=`, as a scraper would in its Accept header.
DEBUG = {
    "text": "text/plain;version=0.0.4",
    "openmetrics": "application/openmetrics-text;version=1.0.0",
    "prometheus-protobuf": (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text"
    ),
}
SLICE = 64  # series in some tenths of a millisecond, where one selector looks at them
# What a sample of a family may be called, beside the family's name.
SUFFIXES: dict[str, tuple[str, ...]] = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "summary": ("_count", "_sum"),
}

_Item = TypeVar("_Item")


class Query(NamedTuple):
    """The parameters of one scrape."""

    selection: Selection
    debug: str | None


def parse_query(query: str, *, federated: bool = False) -> Query:
    """Return what a query string asks for; raise SelectorError for what it cannot have."""
    if len(query) > MAX_QUERY:
        raise SelectorError(f"the query string has more than {MAX_QUERY} characters")
    try:
        fields = parse_qs(_decoded(query), errors="replace", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise SelectorError(f"the query string has more than {MAX_FIELDS} parameters") from error
    matches = fields.get("match[]", [])
    if len(matches) > MAX_SELECTORS:
        raise SelectorError(f"match[]: more than {MAX_SELECTORS} selectors")
    debug = fields.get("debug", [None])[-1]
    if debug is not None and debug not in DEBUG:
        raise SelectorError(f"debug={debug[:40]!r} is none of {', '.join(DEBUG)}")
    names = frozenset(fields.get("name[]", ()))
    selectors = tuple(parse_selector(text, federated=federated) for text in dict.fromkeys(matches))
    return Query(Selection(names, selectors, (names, *sorted(set(matches)))), debug)


def _decoded(query: str) -> str:
    """Return a query as text, whose characters are bytes: not all clients encode what they send.

    Django has decoded it already.
    """
    try:
        return query if query.isascii() else query.encode("latin-1").decode()
    except UnicodeError:
        return query


class Selection:
    """Which series are wanted: those of some names, or that some selectors select; or all."""

    def __init__(
        self,
        names: frozenset[str] = frozenset(),
        selectors: tuple[Selector, ...] = (),
        key: Any = (),
    ) -> None:
        self._names = names
        self._selectors = selectors
        self.key = key  # equal for selections of the same series
        self._slice = max(1, SLICE // max(1, len(selectors)))

    @property
    def without_names(self) -> Selection:
        """Return what the selectors select, whatever `name[]` says."""
        return Selection(frozenset(), self._selectors, (frozenset(), *self.key[1:]))

    @property
    def everything(self) -> bool:
        """Tell whether nothing was said."""
        return not self._names and not self._selectors

    def may_want(self, described: Iterable[str]) -> bool:
        """Tell whether a collector with these names may have something that is wanted."""
        if self.everything or not described:
            return True
        exact = [one.names() for one in self._selectors]
        if None in exact:
            return True
        return not self._names.union(*filter(None, exact)).isdisjoint(described)

    def select(self, family: MetricFamily) -> Generator[None, None, MetricFamily | None]:
        """Return what is wanted of `family`, if anything; yield now and then."""
        if self.everything:
            return family
        if isinstance(family, BlockFamily):
            for shown in _with_and_without_created(family):
                accepts = self._of_rows(*shown)
                if accepts is not None:
                    return (yield from _rows_of(shown[0], accepts, self._slice))
        accepts_sample = self._of_samples(family)
        chosen = yield from _chosen(family.samples, accepts_sample, self._slice)
        if not chosen:
            return None
        return with_samples(family, chosen)

    def wants_name(self, name: str) -> bool:
        """Tell whether a series may be wanted that is called `name`."""
        return name in self._names or any(one.accepts_name(name) for one in self._selectors)

    def _of_samples(self, family: MetricFamily) -> Callable[[Any], bool]:
        if family.name in self._names:  # it stands for all its samples
            return lambda _: True

        def accepts(sample: Any) -> bool:
            return sample.name in self._names or any(
                one.accepts_name(sample.name) and one.accepts_labels(sample.labels or {})
                for one in self._selectors
            )

        return accepts

    def _of_rows(
        self, family: BlockFamily, left_out: tuple[str, ...]
    ) -> Callable[[Row], bool] | None:
        """Return what tells which rows are wanted; None where it depends on their samples.

        Nothing may be wanted that is called as one of `left_out`.
        """
        if any(map(self.wants_name, left_out)) or (left_out and family.name in self._names):
            return None
        samples = _names_in(family)
        if family.name in self._names or self._names.issuperset(samples):
            return lambda _: True
        if not self._names.isdisjoint(samples):
            return None
        inner = INNER.get(family.type)
        wanted = [one for one in self._selectors if any(map(one.accepts_name, samples))]
        if not all(_takes_whole(one, samples, inner) for one in wanted):
            return None
        if any(all(m.label == NAME for m in one.matchers) for one in wanted):
            return lambda _: True
        names = family.label_names

        def accepts(row: Row) -> bool:
            labels = dict(zip(names, row.labels, strict=True))
            return any(one.accepts_labels(labels) for one in wanted)

        return accepts


def _takes_whole(selector: Selector, samples: list[str], inner: str | None) -> bool:
    """Tell whether a selector takes or leaves all samples of a row."""
    names_inner = any(one.label == inner for one in selector.matchers)
    return not names_inner and all(map(selector.accepts_name, samples))


def _names_in(family: BlockFamily) -> list[str]:
    created = ("_created",) if family.shows_created else ()
    parts = SUFFIXES.get(family.type, ("",))
    return [family.name + suffix for suffix in (*parts, *created)]


def _with_and_without_created(
    family: BlockFamily,
) -> Iterator[tuple[BlockFamily, tuple[str, ...]]]:
    yield family, ()
    if family.shows_created:
        found = copy.copy(family)
        found.shows_created = False
        yield found, (f"{family.name}_created",)


def with_samples(family: MetricFamily, samples: Any) -> MetricFamily:
    """Return a family like `family` that has `samples`."""
    found = MetricFamily.__new__(MetricFamily)  # its names were checked, or are none of ours
    found.name, found.documentation = family.name, family.documentation
    found.type, found.unit = family.type, family.unit
    found.samples = samples
    return found


def _rows_of(
    family: BlockFamily, accepts: Callable[[Row], bool], at_once: int
) -> Generator[None, None, BlockFamily | None]:
    chosen = yield from _chosen(family.rows(), accepts, at_once)
    if not chosen:
        return None
    found = copy.copy(family)
    found.rows, found.numbers = lambda: chosen, None
    return found


def _chosen(
    items: Iterable[_Item], accepts: Callable[[_Item], bool], at_once: int
) -> Generator[None, None, list[_Item]]:
    chosen = []
    for number, item in enumerate(items):
        if accepts(item):
            chosen.append(item)
        if number % at_once == at_once - 1:
            yield
    return chosen
