"""What a store is told of its blocks, and tells of its writers.

A *family* is a set of blocks of the same width; a *block* is the run of cells that belongs to one
set of label values.
"""

# Annotations are evaluated here: from strings, `NamedTuple` takes twice as long, at every import.
from typing import NamedTuple

Labels = tuple[str, ...]


class Settlement(NamedTuple):
    """Say what becomes of what a worker began and did not live to finish.

    The cell `promised` counts what was begun, the cells `kept` what was finished; what is open when
    a worker is dead goes to the cell `into`. A worker that lives is left alone.

    The cells in the slices of `again` count the same things once more, in other parts; one may be
    among those `kept` as well. What is missing there goes to the last of them. A slice is two
    numbers: its first cell, and the one behind its last.

    `apart` are pairs of cells of which the first counts what was begun, and the second what of that
    was finished; what is open goes to the second.
    """

    promised: int
    kept: tuple[int, ...]
    into: int
    again: tuple[int, ...] = ()
    apart: tuple[int, ...] = ()


class Family(NamedTuple):
    """Describe blocks of one kind; every field is part of what tells it from others.

    `width` is the number of cells in a block. Cells only grow, except where `live`: there they go
    up and down and are worth nothing once the process that wrote them is gone. A `mode` is that of
    a gauge, which says what becomes of several processes' values: all, min, max, sum, mostrecent.
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


class Worker:
    """One writer's place. `generation` counts its holders, `since` is Unix time in seconds."""

    __slots__ = ("generation", "live", "pid", "since", "slot")

    def __init__(self, slot: int, pid: int, live: bool, generation: int, since: float) -> None:
        self.slot, self.pid, self.live = slot, pid, live
        self.generation, self.since = generation, since
