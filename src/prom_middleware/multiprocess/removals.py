"""Removing series in all workers at once.

Nobody can change another worker's cells. What adds up is therefore removed by subtracting: the sum
that it had is noted, and what any worker adds after that begins at zero, whether it knows of the
removal or not. A gauge may be set, too: after each removal a label set has another block, and a
worker has to know which: it looks for announcements before it writes to a gauge with labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from time import time
from typing import Protocol

from prom_middleware.multiprocess.shapes import GAUGES, REMOVAL, copies_of, kind_of, removals_of
from prom_middleware.multiprocess.view import NEVER, View
from prom_middleware.stores import Family, Labels, Store


class Announcements(Protocol):
    """What tells all workers that something was removed."""

    def reopen(self) -> None:
        """Begin anew, the store being another."""
        ...

    def close(self) -> None:
        """Tell nobody any more."""
        ...

    def length(self) -> int:
        """Return another number than before if something was removed since."""
        ...

    def settled(self, length: int) -> int | None:
        """Return the number that stands for all that was removed; None while somebody is at it."""
        ...

    def removing(self) -> AbstractContextManager[None]:
        """Be the only one who removes, and announce it."""
        ...


class Alone:
    """A store of one process needs no announcements but its own."""

    def __init__(self) -> None:
        self._length = 0

    def reopen(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def length(self) -> int:
        """Return the number of removals."""
        return self._length

    def settled(self, length: int) -> int:
        """Return the same number."""
        return length

    @contextmanager
    def removing(self) -> Iterator[None]:
        """Count one."""
        yield
        self._length += 1


def announcements_for(store: Store) -> Announcements:
    """Return what the workers of a store have in common, if they have."""
    directory: str | None = getattr(store, "directory", None)
    if directory is None:
        return Alone()
    # Needs `flock`, which such a store has found.
    from prom_middleware.multiprocess import announcing

    return announcing.AnnouncementFile(directory)


class Removals:
    """What this process knows of removals, in all methods with the store's turn.

    `changed` is called when gauges have to look for their blocks again.
    """

    def __init__(self, store: Store, changed: Callable[[], object]) -> None:
        self._store = store
        self._changed = changed
        self._known: Mapping[Family, Mapping[Labels, int]] = {}
        self._seen = 0
        self.announcements = announcements_for(store)

    def number(self, family: Family, labels: Labels) -> int:
        """Return which removal of this label set was the last."""
        if not self._known:
            return 0
        return self._known.get(removals_of(family), {}).get(labels, 0)

    def look(self) -> None:
        """Learn of removals by any process."""
        if self.announcements.length() == self._seen:  # `news`, on the way of users' requests
            return
        number = self.news()
        if number is not None:
            self.learn(number, View(self._store.snapshot()))

    def news(self) -> int | None:
        """Return what `learn` is to be told with a view that is taken after this, if anything."""
        length = self.announcements.length()
        return None if length == self._seen else self.announcements.settled(length)

    def learn(self, number: int, view: View) -> None:
        """Note what `view` says, to which nothing is news before `number`."""
        families = [family for family in view.snapshot.families() if kind_of(family) == REMOVAL]
        self._known = {
            family: {labels: removal.number for labels, removal in view.removed(family).items()}
            for family in families
        }
        self._seen = number
        self._changed()

    def remove(self, family: Family, chosen: Callable[[Labels], bool]) -> None:
        """Remove the label sets that are `chosen`; TimeoutError if others take too long."""
        with self.announcements.removing():
            view = View(self._store.snapshot())
            for each in view.alike(family):
                if each.label_names == family.label_names:
                    self._remove(view, each, chosen)
        self.look()

    def _remove(self, view: View, family: Family, chosen: Callable[[Labels], bool]) -> None:
        removals, now = view.removals(family), time()
        for labels, cells in _shown(view, family):
            if chosen(labels):
                since = now - removals.get(labels, NEVER).time
                self._note(removals_of(family), labels, [1.0, since, *cells])

    def _note(self, family: Family, labels: Labels, amounts: list[float]) -> None:
        """Add one removal, so that whoever is killed here has done it wholly or not at all."""
        offset = self._store.allocate(family, labels)
        cells = self._store.cells
        valid, other = copies_of(family, offset, cells[offset])
        for index, amount in enumerate(amounts):
            cells[other + index] = cells[valid + index] + amount
        # One write of 8 bytes: before it the old copy is valid, after it the new one.
        cells[offset] += 1
        # Alike, the two can be added to what an earlier worker left, as all cells of a store are.
        for index in range(len(amounts)):
            cells[valid + index] = cells[other + index]


def _shown(view: View, family: Family) -> list[tuple[Labels, list[float]]]:
    if kind_of(family) in GAUGES:
        return [(labels, []) for labels, _ in view.gauges(family)]
    return [(labels, series.cells) for labels, series in view.sums(family)]
