"""The store of a single process: one growing vector.

A list, not an `array`: that would add a tenth to what a request costs. Zeros and small whole
numbers share their objects, so a block costs 8 bytes a cell, and some 28 more for each cell that
holds a fraction or has passed 256. Whole numbers are exact beyond 2**53, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from prom_middleware.stores.base import Cells, Family, Labels


class MemoryStore:
    """Keep all blocks in one list."""

    def __init__(self) -> None:
        self._cells: list[float] = []
        self.cells: Cells = self._cells
        self._offsets: dict[Family, dict[Labels, int]] = {}

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

    def read(self, family: Family) -> Iterator[tuple[Labels, list[float]]]:
        """Yield each block of `family`."""
        for labels, offset in list(self.offsets(family).items()):
            yield labels, self._cells[offset : offset + family.width]

    def workers(self) -> dict[str, int]:
        """Return one live process: this one."""
        return {"live": 1, "dead": 0}
