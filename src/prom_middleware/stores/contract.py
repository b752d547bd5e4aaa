"""The Store contract: numbers in cells of float64, and nothing else.

What a cell means is the caller's affair: a store knows nothing of HTTP, histograms or exposition,
so that memory and shared files can stand behind the same doors. Types only: nobody waits for them
when a door is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from prom_middleware.stores.base import Family, Labels, Worker
from prom_middleware.stores.turn import Turn


class Cells(Protocol):
    """A vector of float64 that can be indexed and assigned."""

    def __getitem__(self, index: int, /) -> float: ...
    def __setitem__(self, index: int, value: float, /) -> None: ...


class Tally(Protocol):
    """What goes up and down by one, such as requests in progress; a deque is one."""

    def append(self, one: None, /) -> None:
        """Count one more: at any moment, without the store's turn."""
        ...

    def pop(self) -> object:
        """Count one less; the turn must be ours. Raises IndexError at zero, where one can tell."""
        ...


class Snapshot(Protocol):
    """What a store held at one moment.

    `sums` tells whether `read` adds up, and takes its time; `agreed` whether it is known to have
    every block that any process has made.
    """

    sums: bool
    agreed: bool

    @property
    def workers(self) -> Sequence[Worker]:
        """Return every place that is, or was, a writer's."""
        ...

    def families(self) -> Iterable[Family]:
        """Return the families that are known; some may have no block."""
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

    Who calls `allocate`, `look` or `extract`, or changes `cells`, has the store's turn; `snapshot`
    takes it itself. `cells` must be read anew for every update: a store may replace it when it
    grows or when the process forks. `renewals` are called when offsets that were handed out are
    void: the maps of `offsets` are right at once, offsets kept elsewhere are not. `arrivals` are
    called, in turn, after a process's first write to what it shares, and after what it had in
    memory was added there. `shared` tells whether processes outlive others; a request that began
    before `born` is another process's, and one that begins after `look_at` has to `look`. Both are
    times of `perf_counter`.
    """

    turn: Turn
    cells: Cells
    shared: bool
    born: float
    look_at: float
    renewals: list[Callable[[], object]]
    arrivals: list[Callable[[], object]]

    def offsets(self, family: Family) -> Mapping[Labels, int]:
        """Return the living map from label values to the first cell of their block."""
        ...

    def allocate(self, family: Family, labels: Labels) -> int:
        """Return the first cell of the block for `labels`, made with zeros if it is new."""
        ...

    def claim(self, family: Family, labels: Labels) -> bool | None:
        """Make the block for `labels`, and tell whether no process had it; may wait a while.

        None: that could not be found out.
        """
        ...

    def tally(self, family: Family, labels: Labels) -> Tally:
        """Return what counts in the block for `labels`, of one cell, and is never void."""
        ...

    def look(self, now: float) -> None:
        """Notice what others did to what is shared; nothing if `now` is not after `look_at`."""
        ...

    def snapshot(self) -> Snapshot:
        """Return what the store holds now: takes the turn, and waits for others without it."""
        ...

    def extract(
        self, choose: Callable[[Iterable[Family]], Iterable[Family]], labels: Labels | None = None
    ) -> Snapshot:
        """Return what the store holds, in a hurry: the blocks for `labels` of some families.

        `choose` is given all families, and returns those. Without labels, all is returned.
        """
        ...
