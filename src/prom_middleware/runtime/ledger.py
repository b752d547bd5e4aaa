"""CPU time of all who ever held a slot: no second is counted twice, and the sum never falls.

Only a scrape looks at CPU time, and any worker may answer it. Whoever does so notes what it saw of
each slot among its own cells, before it shows it: so what was shown once outlives the worker that
used it, and the one that showed it. A note says who held the slot, how much it had used, and how
much all holders before it: both are at most the truth, and the truth only grows, so that the
greatest of all notes is always right, in whichever order they were written. Nothing is added to
what another has written; two scrapes at the same moment say the same thing twice.

What a worker used between the last scrape and its death is lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import pack
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from prom_middleware.stores import Family, Snapshot, Store

if TYPE_CHECKING:
    from typing import TypeAlias

    # By slot.
    Notes: TypeAlias = "Mapping[int, Sequence[Note]]"

# Two notes in turn: a writer that is killed, or read, in the middle of one has left the other.
WIDTH = 6
FAMILY = Family("worker_cpu_notes", ("slot",), 2 * WIDTH)


class Note(NamedTuple):
    """What somebody saw of a slot: its holder's CPU time, and that of all `earlier` ones.

    Times are in ticks, which are whole numbers: sums of them are exact. `since` is when the holder
    took the slot, in Unix seconds, `start` when its process began, in ticks since boot.
    """

    since: float
    pid: float
    start: float
    earlier: float
    cpu: float

    @property
    def total(self) -> float:
        """Return what all holders used until then."""
        return self.earlier + self.cpu

    def is_of(self, other: Note) -> bool:
        """Tell whether both are about the same process, which may have taken the slot twice."""
        return (self.pid, self.start) == (other.pid, other.start)


def read_notes(snapshot: Snapshot) -> Notes:
    """Return by slot what everybody has noted of it."""
    # Not `Snapshot.read`: a sum of notes means nothing.
    return {
        int(slot): [note for _, block in found for note in _both(block) if note]
        for (slot,), found in snapshot.each(FAMILY)
    }


def record(store: Store, notes: Notes, seen: Mapping[int, Note]) -> float:
    """Note what was `seen` of living holders, and return the ticks that all ever used."""
    known = {slot: _updated(notes.get(slot, ()), note) for slot, note in seen.items()}

    def write() -> None:
        for slot, note in known.items():
            write_note(store, slot, note)

    # Before it is shown: `read` returns when it is done, `update` may not.
    store.turn.read(write)
    totals = {
        slot: max((note.total for note in noted), default=0.0) for slot, noted in notes.items()
    }
    totals |= {slot: note.total for slot, note in known.items()}
    return math.fsum(totals.values())


def _updated(notes: Iterable[Note], seen: Note) -> Note:
    earlier, cpu = seen.earlier, seen.cpu
    for note in notes:
        if note.is_of(seen):
            earlier, cpu = max(earlier, note.earlier), max(cpu, note.cpu)
        else:
            earlier = max(earlier, note.total)
    return seen._replace(earlier=earlier, cpu=cpu)


def write_note(store: Store, slot: int, note: Note) -> None:
    """Note in this process's cells what is known of a slot; the turn is held.

    The lower one of the two that are there is overwritten, and none by what is lower still: another
    thread may have come later with less.
    """
    offset = store.allocate(FAMILY, (str(slot),))
    cells = store.cells
    block = [cells[index] for index in range(offset, offset + 2 * WIDTH)]
    totals = [-1.0 if old is None else old.total for old in _both(block)]
    lower = totals.index(min(totals))
    if note.total > totals[lower]:
        for index, value in enumerate([*note, _check(note)], offset + lower * WIDTH):
            cells[index] = value


def _both(block: Sequence[float]) -> Iterator[Note | None]:
    for start in (0, WIDTH):
        *values, check = block[start : start + WIDTH]
        note = Note(*values)
        yield note if check == _check(note) else None


def _check(note: Note) -> float:
    return float(crc32(pack("5d", *note)))
