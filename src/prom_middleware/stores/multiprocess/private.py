"""What this process recorded and no file has: kept here until there is one."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator

from prom_middleware.stores.base import Family, Labels, Worker
from prom_middleware.stores.multiprocess.cells import PRIVATE
from prom_middleware.stores.multiprocess.dictionary import Dictionary, Index
from prom_middleware.stores.multiprocess.layout import CELL, span
from prom_middleware.stores.multiprocess.snapshot import Holding, MultiprocessSnapshot
from prom_middleware.stores.multiprocess.vector import Vector


class Private:
    """Cells by their offsets, and blocks that are in no dictionary."""

    def __init__(self) -> None:
        self.cells: dict[int, float] = {}
        self.blocks: dict[tuple[Family, Labels], int] = {}
        # No offset is given twice: whoever still holds an old one must not hit another block.
        self._start = self._end = PRIVATE

    def __bool__(self) -> bool:
        return bool(self.cells or self.blocks)

    def allocate(self, family: Family, labels: Labels) -> int:
        """Return the offset of a block that is in no dictionary."""
        offset = self.blocks.get((family, labels))
        if offset is None:
            offset = self.blocks[family, labels] = self._end
            self._end += span(family)
        return offset

    def add(self, offset: int, values: list[float]) -> None:
        """Add to cells from `offset` on."""
        for index, value in enumerate(values, offset):
            self.cells[index] = self.cells.get(index, 0.0) + value

    def enter(self, dictionary: Dictionary, index: Index) -> bool:
        """Give every block its place in the dictionary, and tell whether there were any."""
        moved = bool(self.blocks)
        for (family, labels), start in list(self.blocks.items()):
            offset = index.of(family).get(labels, start)
            if offset >= PRIVATE:
                offset = dictionary.add(family, labels)
            places = range(start, start + span(family))
            self.add(offset, [self.cells.pop(place, 0.0) for place in places])
            del self.blocks[family, labels]
        # What came here late is lost: it was written to a block that had moved meanwhile.
        for place in [place for place in self.cells if place >= PRIVATE]:
            del self.cells[place]
        self._start = self._end
        return moved

    def pour(self, mapped: memoryview[float]) -> bool:
        """Add what is here to a slot's cells, which had nothing of it; tell if there was any."""
        indexes = [index for index in self.cells if index < len(mapped)]
        for index in indexes:
            mapped[index] += self.cells.pop(index)
        return bool(indexes)

    def take_placed(self, cells: array[float]) -> None:
        """Move what is at offsets of the dictionary to a copy of this process's cells."""
        for index in [index for index in self.cells if index < PRIVATE]:
            value = self.cells.pop(index)
            if index < len(cells):
                cells[index] += value

    def forget(self) -> None:
        """Begin with zeros in a forked child; the offsets stay, since callers know them."""
        self.cells.clear()

    @property
    def size(self) -> int:
        """Return how many cells the blocks here have."""
        return self._end - self._start if self.blocks else 0

    def place(self, offset: int, end: int) -> int:
        """Return where a snapshot, which has these cells behind `end`, has what is at `offset`."""
        return offset - self._start + end if offset >= PRIVATE else offset


def view(
    index: Index, private: Private, holdings: list[Holding], vector: Vector | None, since: float
) -> MultiprocessSnapshot:
    """Return the snapshot of all slots and of what this process has in its memory."""
    end = index.end
    whole = end + private.size
    if not private:
        blocks = {family: dict(offsets) for family, offsets in index.families()}
        return MultiprocessSnapshot(holdings, blocks, index.created, since)
    for holding in holdings:
        holding.cells.frombytes(bytes(CELL * private.size))
    _add_to(_own(holdings, vector, whole, since), private, end)
    blocks = {
        family: {labels: private.place(offset, end) for labels, offset in offsets.items()}
        for family, offsets in index.families()
    }
    return MultiprocessSnapshot(holdings, blocks, index.created, since)


def _add_to(own: array[float], private: Private, end: int) -> None:
    for offset, value in private.cells.items():
        place = private.place(offset, end)
        if place < len(own):
            own[place] += value


def _own(holdings: list[Holding], vector: Vector | None, size: int, since: float) -> array[float]:
    for holding in holdings:
        if vector is not None and holding.worker.slot == vector.slot:
            return holding.cells
    # A worker without a slot.
    holdings.append(
        Holding(Worker(-1, os.getpid(), True, 0, since), array("d", bytes(CELL * size)))
    )
    return holdings[-1].cells


def estate(index: Index, cells: array[float]) -> Iterator[tuple[Family, Labels, list[float]]]:
    """Yield the blocks in which something is written, with this worker's own values."""
    for family, offsets in index.families():
        for labels, offset in offsets.items():
            values = cells[offset : offset + family.width].tolist()
            if any(values):
                yield family, labels, values
