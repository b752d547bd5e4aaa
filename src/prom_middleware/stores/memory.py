"""The store of a single process: one growing vector.

A list, not an `array`: that would add a tenth to what a request costs. Zeros and small whole
numbers share their objects, so a block costs 8 bytes a cell, and some 28 more for each cell that
holds a fraction or has passed 256. Whole numbers are exact beyond 2**53, too.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from math import inf
from time import time
from typing import TYPE_CHECKING

from prom_middleware.stores.base import Family, Labels, Worker
from prom_middleware.stores.turn import Turn

if TYPE_CHECKING:
    from prom_middleware.stores.contract import Cells


class MemoryStore:
    """Keep all blocks in one list."""

    def __init__(self) -> None:
        self.turn = Turn()
        self.shared = False
        self.born, self.look_at = -inf, inf
        self.renewals: list[Callable[[], object]] = []
        self.arrivals: list[Callable[[], object]] = []
        self._cells: list[float] = []
        self.cells: Cells = self._cells
        self._offsets: dict[Family, dict[Labels, int]] = {}
        self._tallies: dict[int, deque[None]] = {}
        self._since = time()

    def offsets(self, family: Family) -> dict[Labels, int]:
        """Return the living map from label values to the first cell of their block."""
        return self._offsets.setdefault(family, {})

    def allocate(self, family: Family, labels: Labels) -> int:
        """Return the first cell of the block for `labels`, made with zeros if it is new."""
        offsets = self.offsets(family)
        offset = offsets.get(labels)
        if offset is not None:
            return offset
        offset = len(self._cells)
        self._cells.extend([0] * family.width)
        offsets[labels] = offset  # last: a reader must never see a block without its cells
        return offset

    def claim(self, family: Family, labels: Labels) -> bool:
        """Make the block for `labels`, and tell whether it is new."""
        is_new = labels not in self.offsets(family)
        self.allocate(family, labels)
        return is_new

    def tally(self, family: Family, labels: Labels) -> deque[None]:
        """Return what is as long as the number that a block of one cell holds.

        A list that shrinks to nothing would free its memory each time.
        """
        return self._tallies.setdefault(self.allocate(family, labels), deque())

    def look(self, now: float) -> None:
        """Do nothing: nothing is shared."""

    def snapshot(self) -> MemorySnapshot:
        """Return what the store holds now."""
        return self.turn.read(self._copy)

    def extract(self, choose: object, labels: Labels | None = None) -> MemorySnapshot:
        """Return a whole snapshot."""
        return self._copy()

    def _copy(self) -> MemorySnapshot:
        for offset, tally in self._tallies.items():
            self._cells[offset] = len(tally)
        families = list(self._offsets.items())  # a door that is made meanwhile adds its own
        # Two flat lists: a pair for each block would give the garbage collector as many objects.
        blocks = {family: (list(one), list(one.values())) for family, one in families}
        return MemorySnapshot(self._cells[:], blocks, self._since)


class MemorySnapshot:
    """A copy of the cells, and where the blocks are in it."""

    def __init__(
        self,
        cells: list[float],
        blocks: dict[Family, tuple[list[Labels], list[int]]],
        since: float,
    ) -> None:
        self.sums, self.agreed = False, True
        self.workers = (Worker(0, os.getpid(), True, 1, since),)
        self._cells = cells
        self._blocks = blocks
        self._since = since

    def families(self) -> Iterable[Family]:
        """Return every family that was asked for."""
        return self._blocks

    def read(self, family: Family) -> Iterator[tuple[Labels, list[float]]]:
        """Yield each block of `family`."""
        cells, width = self._cells, family.width
        for labels, offset in zip(*self._blocks.get(family, ((), ())), strict=True):
            yield labels, cells[offset : offset + width]

    def each(
        self, family: Family
    ) -> Iterator[tuple[Labels, list[tuple[Worker | None, list[float]]]]]:
        """Yield each block of `family` as the one worker has it."""
        for labels, cells in self.read(family):
            yield labels, [(self.workers[0], cells)]

    def created(self, family: Family, labels: Labels) -> float:
        """Return when the store was made: a process remembers no more than that."""
        return self._since
