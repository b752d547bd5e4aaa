"""One look at the store: each series as all workers together have it, less what was removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import fsum, isfinite, ulp
from types import MappingProxyType
from typing import NamedTuple

from prom_middleware.multiprocess import notes
from prom_middleware.multiprocess.shapes import (
    AMOUNTS,
    NOTE,
    NUMBER,
    SET,
    SINCE,
    copies_of,
    kind_of,
    note_kind,
    removals_of,
)
from prom_middleware.stores import Family, Labels, Snapshot, Worker

Written = list[tuple[Worker | None, list[float]]]


class Removal(NamedTuple):
    """What was removed of a label set: how often, the last time (Unix seconds), which sums."""

    number: int
    time: float
    cells: list[float]


class Sum(NamedTuple):
    """One series that adds up: its cells, and since when it counts, in Unix seconds."""

    cells: list[float]
    created: float


NEVER = Removal(0, 0.0, [])


class View:
    """What one snapshot says of users' metrics."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._families: Mapping[tuple[str, str, str], list[Family]] | None = None

    @property
    def families(self) -> Mapping[tuple[str, str, str], list[Family]]:
        """Return the families by scope, name and kind: help and labels may have changed."""
        # No `cached_property`: see `MultiprocessSnapshot`.
        if self._families is None:
            self._families = _by_kind(self.snapshot.families())
        return self._families

    def alike(self, family: Family) -> list[Family]:
        """Return all that is shown as one with `family`, which comes first."""
        same = self.families.get((family.scope, family.name, kind_of(family)), [])
        others = [
            other
            for other in same
            if other != family
            and (other.bounds, other.kind, other.mode) == (family.bounds, family.kind, family.mode)
        ]
        return [family, *others]

    def removals(self, family: Family) -> dict[Labels, Removal]:
        """Return what was removed of each label set of `family` that ever was."""
        return self.removed(removals_of(family))

    def removed(self, removals: Family) -> dict[Labels, Removal]:
        """Return what was removed, by the family that says so."""
        width = removals.width // 2
        found = {}
        for labels, written in self.snapshot.each(removals):
            starts = [(block, copies_of(removals, 0, block[0])[0]) for _, block in written]
            copies = [block[start : start + width] for block, start in starts]
            whole = list(map(fsum, zip(*copies, strict=True)))
            if whole and whole[NUMBER]:
                found[labels] = Removal(int(whole[NUMBER]), whole[SINCE], whole[AMOUNTS:])
        return found

    def sums(self, family: Family) -> Iterator[tuple[Labels, Sum]]:
        """Yield each label set of a family that adds up, as it has done since its last removal."""
        removals = self.removals(family)
        for labels, block in self.snapshot.read(family):
            removal = removals.get(labels)
            if removal is None:
                yield labels, Sum(block, self.snapshot.created(family, labels))
                continue
            left = _less(block, removal.cells)
            if any(left):
                yield labels, Sum(left, removal.time)

    def gauges(
        self, family: Family, own: Mapping[Labels, int] = MappingProxyType({})
    ) -> Iterator[tuple[Labels, Written]]:
        """Yield each label set of a gauge with what each worker last set it to.

        One that was removed is left out until somebody sets it again, or has made it again: `own`
        says after how many removals that was.
        """
        removals = self.removals(family)
        for labels, written in self.snapshot.each(family):
            number = removals.get(labels, NEVER).number
            found = [(worker, block) for worker, block in written if block[SET] == number + 1]
            if found or not number or own.get(labels) == number:
                yield labels, found

    def notes(self, family: Family) -> dict[Labels, notes.Note]:
        """Return what is said of the series of `family`, their names being the last label."""
        kind = note_kind(family)
        found = [
            each
            for each in self.families.get((family.scope, family.name, NOTE), ())
            if each.kind == kind and each.label_names[:-1] == family.label_names
        ]
        if not found:
            return {}
        removals, said = self.removals(family), notes.newest(self.snapshot, found)
        return {
            labels: note
            for labels, note in said.items()
            if note.stamp >= removals.get(labels[:-1], NEVER).number
        }


def _by_kind(families: Iterable[Family]) -> Mapping[tuple[str, str, str], list[Family]]:
    found: dict[tuple[str, str, str], list[Family]] = {}
    for family in families:
        found.setdefault((family.scope, family.name, kind_of(family)), []).append(family)
    return found


def _less(block: list[float], removed: list[float]) -> list[float]:
    pairs = list(zip(block, removed, strict=True))
    # What differs by no more than it was rounded by is the same.
    left = [value - less if abs(value - less) > 4 * ulp(value) else 0.0 for value, less in pairs]
    if isfinite(sum(block)) or not (any(left) or any(map(_is_since, block, removed))):
        return left
    # To what is infinite or NaN nothing can be added that would be seen: then it is NaN.
    return [
        kept if isfinite(value) else value - less
        for kept, (value, less) in zip(left, pairs, strict=True)
    ]


def _is_since(value: float, removed: float) -> bool:
    """Tell whether it was after the removal that a sum became infinite or NaN."""
    return isfinite(removed) and not isfinite(value)
