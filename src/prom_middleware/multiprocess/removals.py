"""Removing series in all workers at once.

Nobody can change another worker's cells. What adds up is therefore removed by subtracting: the sum
that it had is noted, and what any worker adds after that begins at zero, whether it knows of the
removal or not. A gauge may be set, too: what a worker sets it to says after which removal of the
label set that was, and is void after the next. So a worker has to know which was the last: it looks
for announcements before it writes to a gauge with labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from hashlib import blake2b
from time import monotonic, time
from typing import Protocol

from prom_middleware import failures
from prom_middleware.multiprocess.kinds import GAUGES
from prom_middleware.multiprocess.shapes import (
    REMOVAL,
    SEPARATOR,
    copies_of,
    kind_of,
    removals_of,
)
from prom_middleware.multiprocess.view import NEVER, View
from prom_middleware.stores import Family, Labels, Store

Choose = Callable[[Iterable[Family]], Iterable[Family]]
# What is announced of a removal that is not of one label set.
EVERYTHING = bytes(8)
# Of how many label sets it may be unknown when they were removed: then all are looked at.
MOST_STALE = 10_000
# Seconds after which it is tried again, for the sake of a request, to read what was removed.
PAUSE = 1.0
UNREAD = "the store was locked: what others have removed could not be read"


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

    def since(self, seen: int) -> tuple[int, set[bytes]]:
        """Return the number, and the names of what was removed since, if that has ended."""
        ...

    def removing(self, name: bytes) -> AbstractContextManager[None]:
        """Be the only one who removes, and announce it."""
        ...


class Alone:
    """A store of one process needs no announcements but its own."""

    def __init__(self) -> None:
        self._names: list[bytes] = []
        self._length = 0

    def reopen(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def length(self) -> int:
        """Return the number of removals."""
        return self._length

    def since(self, seen: int) -> tuple[int, set[bytes]]:
        """Return the names that nobody has asked for yet."""
        names, self._names = self._names, []
        return self._length, set(names)

    @contextmanager
    def removing(self, name: bytes) -> Iterator[None]:
        """Count one."""
        yield
        self._names.append(name)
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
    """What this process knows of removals, in all methods with the store's turn."""

    def __init__(
        self, store: Store, may_interrupt: Callable[[Callable[..., object]], bool]
    ) -> None:
        self._store = store
        self._may_interrupt = may_interrupt
        self._known: dict[Family, dict[Labels, int]] = {}
        # The names of label sets that were removed since what is known of them was read.
        self._stale: set[bytes] = set()
        # Whether something was removed of which it could not be read what that was.
        self.is_deaf = False
        self.seen = 0
        self._read_at = 0.0
        self.announcements = announcements_for(store)

    def number(self, family: Family, labels: Labels) -> int:
        """Return which removal of this label set was the last, as of the last `look`."""
        if self._stale and monotonic() >= self._read_at:
            self._attempt(partial(self._refresh, family, labels))
        if not self._known:
            return 0
        return self._known.get(removals_of(family), {}).get(labels, 0)

    def is_stale(self, family: Family, labels: Labels) -> bool:
        """Tell whether `number` could not be read: somebody had the store's lock for too long."""
        return self.is_deaf or (bool(self._stale) and name_of(family, labels) in self._stale)

    def left(self, family: Family, labels: Labels) -> list[float]:
        """Return the sums that all processes have of a label set since it was removed, if any."""
        view = self._view(partial(_beside, family), labels)
        return next((series.cells for each, series in view.sums(family) if each == labels), [])

    def look(self) -> None:
        """Hear of removals by any process."""
        if self.announcements.length() != self.seen:  # on the way of users' requests
            self.is_deaf = not self._attempt(self._hear)

    def _attempt(self, read: Callable[[], object]) -> object:
        """Return what `read` returns; None where no descriptor is free to read with."""
        try:
            return read()
        except OSError as error:
            failures.report("multiprocess.remove", error)
            return None

    def _hear(self) -> bool:
        """Tell whether all is known that was removed, or at least of what."""
        seen, names = self.announcements.since(self.seen)
        if EVERYTHING not in names and len(self._stale) < MOST_STALE:
            self._stale |= names
        elif monotonic() < self._read_at or not self._learn(self._view(list)):
            return False
        self.seen, self.is_deaf = seen, False
        return True

    def renew(self) -> None:
        """Begin anew, the store being another."""
        self.announcements.reopen()
        self._known, self._stale, self.seen, self.is_deaf = {}, set(), -1, False
        self._read_at = 0.0

    def close(self) -> None:
        """Hear of nothing any more."""
        self.announcements.close()

    def _refresh(self, family: Family, labels: Labels) -> None:
        name = name_of(family, labels)
        if name in self._stale:
            beside = partial(_beside, family)
            view = self._view(beside, labels)
            for each in _removals(beside(view.snapshot.families())):
                self._known.setdefault(each, {}).update(_numbers(view, each))
            if view.snapshot.agreed:
                self._stale.discard(name)

    def _learn(self, view: View) -> bool:
        families = _removals(view.snapshot.families())
        self._known = {family: _numbers(view, family) for family in families}
        if view.snapshot.agreed:
            self._stale.clear()
        return view.snapshot.agreed

    def remove(self, family: Family, labels: Labels) -> None:
        """Remove one label set; TimeoutError if others take too long."""
        with self.announcements.removing(name_of(family, labels)):
            view = self._view(partial(_beside, family), labels)
            self._remove(view, family, lambda each: each == labels)
        self.look()

    def remove_where(self, family: Family, chosen: Callable[[Labels], bool]) -> None:
        """Remove the label sets that are `chosen`; TimeoutError if others take too long."""
        with self.announcements.removing(EVERYTHING):
            self._remove(self._view(list), family, chosen)
        self.look()

    def _view(self, choose: Choose, labels: Labels | None = None) -> View:
        """Read the store: where it is locked, all that this process has, which may be a lot."""
        view = View(self._store.extract(choose, labels))
        self._read_at = 0.0 if view.snapshot.agreed else monotonic() + PAUSE
        return view

    def _remove(self, view: View, family: Family, chosen: Callable[[Labels], bool]) -> None:
        if not view.snapshot.agreed and not self._hear():
            raise TimeoutError(UNREAD)
        for each in view.alike(family):
            if each.label_names == family.label_names:
                self._remove_from(view, each, chosen)

    def _remove_from(self, view: View, family: Family, chosen: Callable[[Labels], bool]) -> None:
        removals, now = view.removals(family), time()
        for labels, cells in _shown(view, family):
            if chosen(labels):
                if not view.snapshot.agreed and self.is_stale(family, labels):
                    # What others removed already, and is not in this view, would be so twice.
                    raise TimeoutError(UNREAD)
                since = now - removals.get(labels, NEVER).time
                self._note(removals_of(family), labels, [1.0, since, *cells])
                # What waits in memory is lost when this process is killed.
                self._store.turn.give_way(self._may_interrupt)

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


def name_of(family: Family, labels: Labels) -> bytes:
    """Return what a label set is called in announcements: the same in all processes."""
    words = SEPARATOR.join((family.scope, family.name, *labels))
    return blake2b(words.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _beside(family: Family, families: Iterable[Family]) -> list[Family]:
    """Return all that is kept under the name of `family`."""
    name, scope = family.name, family.scope
    return [each for each in families if each.name == name and each.scope == scope]


def _removals(families: Iterable[Family]) -> list[Family]:
    return [family for family in families if kind_of(family) == REMOVAL]


def _numbers(view: View, removals: Family) -> dict[Labels, int]:
    return {labels: removal.number for labels, removal in view.removed(removals).items()}


def _shown(view: View, family: Family) -> list[tuple[Labels, list[float]]]:
    if kind_of(family) in GAUGES:
        return [(labels, []) for labels, _ in view.gauges(family)]
    return [(labels, series.cells) for labels, series in view.sums(family)]
