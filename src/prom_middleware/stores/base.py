"""The Store contract: numbers in cells of float64, and nothing else.

A *family* is a set of blocks of the same width; a *block* is the run of cells that belongs to one
set of label values. What a cell means is the caller's affair: a store knows nothing of HTTP,
histograms or exposition, so that memory and shared files can stand behind the same doors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from prom_middleware.stores.turn import Turn

Labels = tuple[str, ...]


class Settlement(NamedTuple):
    """Say what becomes of what a worker began and did not live to finish.

    The cell `promised` counts what was begun, the cells `kept` what was finished; what is open when
    a worker is dead goes to the cell `into`. A worker that lives is left alone.
    """

    promised: int
    kept: tuple[int, ...]
    into: int


class Family(NamedTuple):
    """Describe blocks of one kind; every field is part of what tells it from others.

    `width` is the number of cells in a block. Cells only grow, except where `live`: there they go
    up and down and are worth nothing once the process that wrote them is gone. A `mode` is that of
    a gauge whose values outlive their process: all, min, max, sum or mostrecent.
    """

    name: str
    label_names: Labels
    width: int
    live: bool = False
    scope: str = ""
    bounds: tuple[float, ...] = ()
    kind: str = ""
    help: str = ""
    mode: str = ""
    settlement: Settlement | None = None


class Worker(NamedTuple):
    """One writer's place. `generation` counts its holders, `since` is Unix time in seconds."""

    slot: int
    pid: int
    live: bool
    generation: int
    since: float


class Cells(Protocol):
    """A vector of float64 that can be indexed and assigned."""

    def __getitem__(self, index: int, /) -> float: ...
    def __setitem__(self, index: int, value: float, /) -> None: ...


class Snapshot(Protocol):
    """What a store held at one moment."""

    @property
    def workers(self) -> Sequence[Worker]:
        """Return every place that is, or was, a writer's."""
        ...

    def families(self) -> Iterable[Family]:
        """Return every family that any process has written to."""
        ...

    def read(self, family: Family) -> Iterator[tuple[Labels, list[float]]]:
        """Yield each block of `family`, summed over all processes that share the store."""
        ...

    def each(
        self, family: Family
    ) -> Iterator[tuple[Labels, list[tuple[Worker | None, list[float]]]]]:
        """Yield each block of `family` as each worker has it; None: what earlier ones left."""
        ...

    def created(self, family: Family, labels: Labels) -> float:
        """Return when the block was made, in Unix seconds."""
        ...


class Store(Protocol):
    """Hold blocks of cells.

    Who calls `allocate` or `snapshot`, or changes `cells`, has the store's turn. `cells` must be
    read anew for every update: a store may replace it when it grows or when the process forks.
    `renewals` are called when offsets that were handed out are void: the maps of `offsets` are
    right at once, offsets kept elsewhere are not. `shared` tells whether processes outlive others.
    """

    turn: Turn
    cells: Cells
    shared: bool
    renewals: list[Callable[[], object]]

    def offsets(self, family: Family) -> Mapping[Labels, int]:
        """Return the living map from label values to the first cell of their block."""
        ...

    def allocate(self, family: Family, labels: Labels) -> int:
        """Return the first cell of the block for `labels`, made with zeros if it is new."""
        ...

    def snapshot(self) -> Snapshot:
        """Return what the store holds now."""
        ...
