"""Removing series in all workers at once.

Nobody can change another worker's cells. What adds up is therefore removed by subtracting: the sum
that it had is noted, and what any worker adds after that begins at zero, whether it knows of the
removal or not. A gauge may be set, too: after each removal a label set has another block, and a
worker has to know which. The length of the file `REMOVALS` tells that there was a removal; workers
look at it before they write to a gauge with labels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from time import monotonic, sleep, time

from prom_middleware.multiprocess.shapes import (
    GAUGE_WIDTH,
    REMOVAL,
    kind_of,
    removals_of,
    removed_from,
)
from prom_middleware.multiprocess.view import View
from prom_middleware.stores import Family, Labels, Store

REMOVALS = "prom_middleware.removals-1"
# Seconds to wait for others who remove something.
PATIENCE = 0.5
GAUGES = ("gauge", "stateset")


class Removals:
    """What this process knows of removals, in all methods with the store's turn.

    `changed` is called when gauges have to look for their blocks again.
    """

    def __init__(self, store: Store, changed: Callable[[], object]) -> None:
        self._store = store
        self._changed = changed
        self._known: Mapping[Family, Mapping[Labels, int]] = {}
        self.seen = 0
        directory: str | None = getattr(store, "directory", None)
        self._path = None if directory is None else os.path.join(directory, REMOVALS)
        self._number = 0
        self._fd = -1
        self.reopen()

    def reopen(self) -> None:
        """Look at the file that has the name now."""
        self.close()
        if self._path is not None:
            with suppress(OSError):
                os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
                self._fd = self._open(self._path)

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        try:  # noqa: SIM105 - what suppresses may be gone as well
            self.close()
        except AttributeError:  # the interpreter ends, and `os` is gone
            pass

    def number(self, family: Family, labels: Labels) -> int:
        """Return which removal of this label set was the last."""
        return self._known.get(removals_of(family), {}).get(labels, 0)

    def look(self) -> None:
        """Learn of removals by any process."""
        number = self.count()
        if number != self.seen:
            self.learn(number, View(self._store.snapshot()))

    def learn(self, number: int, view: View) -> None:
        """Note what `view` says, which was taken after `number` removals."""
        families = [family for family in view.snapshot.families() if family.kind == REMOVAL]
        self._known = {
            family: {labels: removal.number for labels, removal in view.removals(family).items()}
            for family in families
        }
        self.seen = number
        self._changed()

    def remove(self, family: Family, chosen: Callable[[Labels], bool]) -> None:
        """Remove the label sets that are `chosen`; TimeoutError if others take too long."""
        with self._lock() as announce:
            view = View(self._store.snapshot())
            for each in view.alike(family):
                if each.label_names == family.label_names:
                    self._remove(view, each, chosen)
            announce()
        self.look()

    def _remove(self, view: View, family: Family, chosen: Callable[[Labels], bool]) -> None:
        removals, now = view.removals(family), time()
        if kind_of(family) in GAUGES:
            found = [(labels, [0.0] * GAUGE_WIDTH) for labels, _ in view.gauges(family)]
        else:
            found = [(labels, series.cells) for labels, series in view.sums(family)]
        for labels, cells in found:
            if not chosen(labels):
                continue
            before = removals[labels].time if labels in removals else 0.0
            # First: a worker that is killed in between has removed nothing, and the next one can.
            self._add(removals_of(family), labels, [1.0, now - before])
            if kind_of(family) not in GAUGES:
                self._add(removed_from(family), labels, cells)

    def _add(self, family: Family, labels: Labels, amounts: list[float]) -> None:
        offset = self._store.allocate(family, labels)
        cells = self._store.cells
        for index, amount in enumerate(amounts, offset):
            cells[index] += amount

    def count(self) -> int:
        """Return how many removals there were in this store."""
        if self._path is None:
            return self._number
        try:
            # The cheapest way to ask: gauges do so before each write.
            return os.lseek(self._fd, 0, os.SEEK_END)
        except OSError:
            return 0

    def _open(self, path: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, 0o600)

    @contextmanager
    def _lock(self) -> Iterator[Callable[[], object]]:
        if self._path is None:
            yield self._count_one
            return
        from prom_middleware.stores.multiprocess.locking import free_flock, try_flock

        fd, deadline = self._open(self._path), monotonic() + PATIENCE
        try:
            while not try_flock(fd):
                if monotonic() >= deadline:
                    raise TimeoutError(f"{self._path} was locked for {PATIENCE} s")
                sleep(0.0005)
            yield lambda: os.write(fd, b".")
        finally:
            free_flock(fd)
            os.close(fd)

    def _count_one(self) -> None:
        self._number += 1
