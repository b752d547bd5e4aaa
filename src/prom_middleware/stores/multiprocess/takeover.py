"""What becomes of what a dead worker left in its slot.

Each step may be interrupted for good after any write and then be done again from the start. A
snapshot does the first two with its own copy of a dead worker's cells, so that a sum is the same
before a slot is taken over and after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import add, itemgetter
from typing import TYPE_CHECKING

from prom_middleware.stores.base import Family, Labels, Settlement
from prom_middleware.stores.multiprocess.layout import (
    CLEARING,
    GENERATION,
    PARITY,
    PID,
    SINCE,
    STATE,
    retires,
    span,
)

if TYPE_CHECKING:
    from array import array
    from typing import TypeAlias

    Cells: TypeAlias = array[float] | memoryview[float]

Offsets = Mapping[Family, Mapping[Labels, int]]
Values = list[float]

STATES = (0.0, 1.0, 2.0, 3.0)
# As many as nobody has seen; what says more is noise.
MOST_HOLDERS = 2.0**53


def take_over(cells: Cells, offsets: Offsets, pid: int, now: float) -> None:
    """Make a dead worker's cells those of process `pid`; the directory's lock is held."""
    bury(cells, offsets)
    _retire(cells, offsets)
    # Last: until here, the slot is still its former holder's.
    cells[SINCE] = now
    cells[GENERATION] = generation_of(cells) + 1
    cells[PID] = pid


def generation_of(cells: Cells) -> int:
    """Return how many have held a slot: where there is noise, somebody has."""
    generation = cells[GENERATION]
    return int(generation) if _counts_holders(generation) else 1


def is_noisy(cells: Cells) -> bool:
    """Tell whether a slot's header says what nobody has written."""
    return not (_counts_holders(cells[GENERATION]) and cells[STATE] in STATES)


def _counts_holders(generation: float) -> bool:
    return 0 <= generation < MOST_HOLDERS and generation == int(generation)


def bury(cells: Cells, offsets: Offsets) -> None:
    """Settle what was left open, and drop what is worth nothing without its writer."""
    for family, blocks in offsets.items():
        if family.live:
            _clear(cells, family, blocks)
        elif family.settlement is not None:
            _settle(cells, family.settlement, _within(cells, family, blocks))


def disown(cells: Cells, offsets: Offsets) -> None:
    """Drop the own values that were already added to the retired ones."""
    if _state(cells) & CLEARING:
        for family, blocks in offsets.items():
            if retires(family):
                _clear(cells, family, blocks)


def retired_at(cells: Cells, family: Family, offset: int) -> int:
    """Return where the valid one of the two retired values is."""
    return offset + family.width * (1 + (_state(cells) & PARITY))


def _state(cells: Cells) -> int:
    state = cells[STATE]
    return int(state) if state in STATES else 0  # anything else is noise


def _retire(cells: Cells, offsets: Offsets) -> None:
    _finish_clearing(cells, offsets)
    state = _state(cells)
    moved = False
    for family, blocks in offsets.items():
        if retires(family):
            for offset in _within(cells, family, blocks):
                moved = _move(cells, family, offset) or moved
    if moved:
        # One write of 8 bytes: before it the old values are valid, after it the new ones.
        cells[STATE] = state ^ PARITY | CLEARING
        _finish_clearing(cells, offsets)


def _finish_clearing(cells: Cells, offsets: Offsets) -> None:
    disown(cells, offsets)
    cells[STATE] = _state(cells) & ~CLEARING


def _move(cells: Cells, family: Family, offset: int) -> bool:
    width = family.width
    valid = retired_at(cells, family, offset)
    other = offset + width * 3 - (valid - offset)
    own, retired = values(cells, offset, width), values(cells, valid, width)
    kept = retired if family.mode not in MODES else combine(family.mode, retired, own)
    for index, value in enumerate(kept, other):
        cells[index] = value
    # Not whether it is written: its writer may have died before it said so.
    return any(own) or any(retired)


def _settle(cells: Cells, settlement: Settlement, offsets: Iterator[int]) -> None:
    promised, into = settlement.promised, settlement.into
    # With `into` among them, what is open is nothing once it was settled.
    kept = _runs({*settlement.kept, into})
    for offset in offsets:
        _settle_apart(cells, offset, settlement.apart)
        begun = cells[offset + promised]
        if not begun:
            continue
        ended = _count(cells, offset, kept)
        if begun > ended:
            cells[offset + into] += begun - ended
        if settlement.again:
            _settle_again(cells, offset, settlement.again, max(begun, ended))


def _settle_apart(cells: Cells, offset: int, apart: tuple[int, ...]) -> None:
    for begun, ended in zip(apart[::2], apart[1::2], strict=True):
        if cells[offset + begun] > cells[offset + ended]:
            cells[offset + ended] = cells[offset + begun]


def _settle_again(cells: Cells, offset: int, again: tuple[int, ...], count: float) -> None:
    missing = count - _count(cells, offset, zip(again[::2], again[1::2], strict=True))
    if missing > 0:
        cells[offset + again[-1] - 1] += missing


def _count(cells: Cells, offset: int, slices: Iterable[tuple[int, int]]) -> float:
    return sum([sum(cells[offset + start : offset + stop]) for start, stop in slices])


def _runs(numbers: set[int]) -> list[tuple[int, int]]:
    # Slices, since they are summed many times as fast as cells.
    starts = sorted(number for number in numbers if number - 1 not in numbers)
    stops = sorted(number + 1 for number in numbers if number + 1 not in numbers)
    return list(zip(starts, stops, strict=True))


def _clear(cells: Cells, family: Family, blocks: Mapping[Labels, int]) -> None:
    for offset in _within(cells, family, blocks):
        for index in range(offset, offset + family.width):
            cells[index] = 0.0


def _within(cells: Cells, family: Family, blocks: Mapping[Labels, int]) -> Iterator[int]:
    # On a full disk, a vector may be shorter than the dictionary says.
    last = len(cells) - span(family)
    return (offset for offset in blocks.values() if offset <= last)


def values(cells: Cells, offset: int, width: int) -> Values:
    """Return a block's cells."""
    return list(cells[offset : offset + width])


def is_written(block: Values) -> bool:
    """Tell whether a worker has ever set a block: by its third cell, if it has one."""
    return block[2] != 0 if len(block) > 2 else any(block)


def combine(mode: str, one: Values, other: Values) -> Values:
    """Return what two workers' values are together: value, time, and 0 if it was never set.

    Another number says since when it counts: what has a lesser one is void.
    """
    if not is_written(other):
        return one
    if not is_written(one):
        return other
    if one[2:3] != other[2:3]:
        return max(one, other, key=itemgetter(2))
    return MODES[mode](one, other)


def _sum(one: Values, other: Values) -> Values:
    if len(one) < 3:
        return list(map(add, one, other))
    return [one[0] + other[0], max(one[1], other[1]), *one[2:]]


MODES: dict[str, Callable[[Values, Values], Values]] = {
    "sum": _sum,
    "min": lambda one, other: min(one, other, key=itemgetter(0)),
    "max": lambda one, other: max(one, other, key=itemgetter(0)),
    "mostrecent": lambda one, other: max(one, other, key=itemgetter(1)),
}
