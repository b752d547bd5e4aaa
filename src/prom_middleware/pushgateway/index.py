"""All metrics of one name, from whatever groups: whose they are, and how they look together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

from prom_middleware.pushgateway.families import SIMPLE, Family, Labels
from prom_middleware.pushgateway.rendering import Form, metric_bytes

# Scrapers ask for one form or two; others are made anew.
_KEPT_FORMS = 2

# What a metric is sorted by, its bytes, and the part that it belongs to.
Entry = tuple[Any, bytes, "Part"]
_sort_key = itemgetter(0)


class Exposed(NamedTuple):
    """A family as it is exposed: its metrics are in one form already."""

    type: str
    help: str | None
    metrics: bytes


class Part:
    """A family of one group, since `pushed_ns`; what was taken out of an index stays out of it."""

    __slots__ = ("family", "is_live", "pushed_ns")

    def __init__(self, family: Family, pushed_ns: int) -> None:
        self.family = family
        self.pushed_ns = pushed_ns
        self.is_live = False

    def entries(self, form: Form) -> Iterator[Entry]:
        """Yield the metrics, in the order in which they were pushed."""
        name, type_, _, metrics = self.family
        for metric in metrics:
            labels = metric.labels
            # Go's reference sorts by the number of labels, then by their values.
            key = (len(labels), tuple([value for _, value in labels]), labels)
            yield key, metric_bytes(name, type_, metric, form), self


class _Assembled:
    """A name's metrics in one form, and what has changed since."""

    def __init__(self, parts: Mapping[Labels, Part]) -> None:
        self.entries: list[Entry] = []
        self.added = dict(parts)
        self.metrics = b""
        self.is_current = False

    def update(self, form: Form) -> None:
        """Take in what has changed: what stays is in order already, and sorted in no time."""
        entries = [entry for entry in self.entries if entry[2].is_live]
        for part in self.added.values():
            entries.extend(part.entries(form))
        entries.sort(key=_sort_key)
        self.entries, self.added = entries, {}


class NameIndex:
    """The parts of one name by their groups' keys; the first one says help and type."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.parts: dict[Labels, Part] = {}
        self.owners: dict[Labels, Labels] = {}
        self._assembled: dict[Form, _Assembled] = {}

    def add(self, key: Labels, part: Part) -> None:
        """Add the part of the group `key`, which has none."""
        self.parts[key] = part
        part.is_live = True
        for metric in part.family.metrics:
            self.owners[metric.labels] = key
        for assembled in self._assembled.values():
            assembled.added[key] = part
            assembled.is_current = False

    def remove(self, key: Labels) -> None:
        """Take the part of the group `key` away."""
        part = self.parts.pop(key)
        part.is_live = False
        for metric in part.family.metrics:
            if self.owners.get(metric.labels) == key:
                del self.owners[metric.labels]
        for assembled in self._assembled.values():
            assembled.added.pop(key, None)
            assembled.is_current = False

    def others_type(self, key: Labels) -> str | None:
        """Return the type that the name has in groups other than `key`."""
        return next((one.family.type for of, one in self.parts.items() if of != key), None)

    def exposed(self, form: Form) -> Exposed:
        """Return the whole family in a form."""
        assembled = self._assembled.get(form)
        if assembled is None:
            while len(self._assembled) >= _KEPT_FORMS:
                del self._assembled[next(iter(self._assembled))]
            assembled = self._assembled[form] = _Assembled(self.parts)
        if not assembled.is_current:
            assembled.update(form)
            shown = self._shown(assembled.entries)
            assembled.metrics = b"".join([line for _, line, _ in shown])
            assembled.is_current = True
        return Exposed(self.type, self._help(), assembled.metrics)

    def _help(self) -> str | None:
        said = (one.family.help for one in self.parts.values() if one.family.help is not None)
        return next(said, None)

    @property
    def type(self) -> str:
        """Return the type that is shown."""
        return next(iter(self.parts.values())).family.type

    def _shown(self, entries: list[Entry]) -> list[Entry]:
        """Leave out what contradicts something else: pushes need not have been checked."""
        if len(self.owners) == len(entries) and self._is_of_one_kind():
            return entries
        type_ = self.type
        newest: dict[Any, Entry] = {}
        for entry in entries:
            before = newest.get(entry[0])
            if not _alike(entry[2].family.type, type_):
                continue
            if before is None or before[2].pushed_ns < entry[2].pushed_ns:
                newest[entry[0]] = entry
        return list(newest.values())

    def _is_of_one_kind(self) -> bool:
        return all(_alike(one.family.type, self.type) for one in self.parts.values())


def _alike(one: str, other: str) -> bool:
    return one == other or (one in SIMPLE and other in SIMPLE)
