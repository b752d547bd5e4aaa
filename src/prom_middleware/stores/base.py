"""The Store contract: numbers in cells of float64, and nothing else.

A *family* is a set of blocks of the same width; a *block* is the run of cells that belongs to one
set of label values. What a cell means is the caller's affair: a store knows nothing of HTTP,
histograms or exposition, so that memory and shared files can stand behind the same doors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

Labels = tuple[str, ...]


class Family(NamedTuple):
    """Describe blocks of one kind.

    `width` is the number of cells in a block. Cells only grow, except in a `live` family, whose
    cells go up and down and are worth nothing once the process that wrote them is gone.
    """

    name: str
    label_names: Labels
    width: int
    live: bool = False


class Cells(Protocol):
    """A vector of float64 that can be indexed and assigned."""

    def __getitem__(self, index: int, /) -> float: ...
    def __setitem__(self, index: int, value: float, /) -> None: ...


class Store(Protocol):
    """Hold blocks of cells.

    Writers call `allocate` and change `cells` while they hold the recorder's lock. `cells` must be
    read anew for every update: a store may replace it when it grows or when the process forks.
    """

    cells: Cells

    def offsets(self, family: Family) -> Mapping[Labels, int]:
        """Return the living map from label values to the first cell of their block."""
        ...

    def allocate(self, family: Family, labels: Labels) -> int:
        """Return the first cell of the block for `labels`, made with zeros if it is new."""
        ...

    def read(self, family: Family) -> Iterator[tuple[Labels, list[float]]]:
        """Yield each block of `family`, summed over all processes that share the store."""
        ...

    def workers(self) -> dict[str, int]:
        """Return how many processes write to this store, by state: `live` and `dead`."""
        ...
