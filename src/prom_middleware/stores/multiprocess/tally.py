"""What goes up and down by one, in a cell that other processes read.

Part of the hot path: the rules of `instrumentation/observation.py` hold here as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prom_middleware.stores.base import Family, Labels
    from prom_middleware.stores.multiprocess.store import MultiprocessStore


class CellTally:
    """One cell, found anew for each change, since offsets may become void.

    Its methods are closures: a name of theirs is one look-up, an attribute of ours would be two.
    """

    __slots__ = ("append", "pop")

    append: Callable[[None], None]
    pop: Callable[[], None]

    def __init__(self, store: MultiprocessStore, family: Family, labels: Labels) -> None:
        turn, offsets = store.turn, store.offsets(family)

        def add(amount: int) -> None:
            offset = store.allocate(family, labels)  # first: it may replace the cells
            store.cells[offset] += amount

        def append(_: None) -> None:
            try:
                give = turn.tokens.pop()
            except IndexError:
                turn.update(add, 1)
                return
            # What others leave meanwhile is carried out by the next who finishes, or who reads.
            try:
                store.cells[offsets[labels]] += 1
            except KeyError:
                add(1)
            finally:
                give(give)

        def pop() -> None:
            try:
                store.cells[offsets[labels]] -= 1
            except KeyError:
                add(-1)

        self.append, self.pop = append, pop
