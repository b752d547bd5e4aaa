"""Text in cells: what an exemplar or an info says.

Cells hold nothing but float64, and another process may read them while they are written. So a note
has two copies, of which the older one is overwritten; each has a checksum, and one that does not
match is passed over. Text lies in whole numbers of 48 bits: they are exact, and whoever sums all
cells meets neither infinities nor NaN.

A copy: sequence, time (Unix seconds), value, the last removal known, bytes of text, checksum,
and the text.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from zlib import crc32

from prom_middleware.multiprocess.shapes import notes_of
from prom_middleware.stores import Family, Labels, Snapshot, Store

HEADER = 6
SEQUENCE, SINCE, VALUE, STAMP, SIZE, CHECKSUM = range(HEADER)
BYTES = 6
# Cells of a copy: an exemplar has at most 128 characters by the OpenMetrics specification, most
# have a trace id; an info may have more.
WIDTHS = (24, 64, 208, 1024, 8192)


class Note(NamedTuple):
    """Text about one series. `stamp` is the last removal of the series that its writer knew of."""

    text: str
    value: float
    time: float
    stamp: int


def write(store: Store, family: Family, labels: Labels, note: Note, *, again: bool = False) -> None:
    """Write a note about a series of `family`; the store's turn must be ours.

    `again` leaves what is there if that is not older: an earlier worker may have left it. Raises
    ValueError if the text is too long.
    """
    data = note.text.encode("utf-8", "surrogatepass")
    width = _width(len(data))
    notes = notes_of(family, 2 * width)
    offset = store.allocate(notes, labels)
    cells = store.cells
    there = _latest([cells[at] for at in range(offset, offset + 2 * width)]) if again else None
    if there is not None and _age(there) >= _age(note):
        return
    first, second = cells[offset], cells[offset + width]
    place = offset + width if second <= first else offset
    copy = [max(first, second) + 1, note.time, note.value, note.stamp, len(data)]
    text = _pack(data)
    cells[place + CHECKSUM] = -1.0
    for index, cell in enumerate([*copy, _checksum(copy, text), *text], place):
        cells[index] = cell


def _width(size: int) -> int:
    for width in WIDTHS:
        if size <= (width - HEADER) * BYTES:
            return width
    raise ValueError(f"{size} bytes of text are too many to be shared")


def _pack(data: bytes) -> list[float]:
    return [
        float(int.from_bytes(data[at : at + BYTES].ljust(BYTES, b"\0"), "little"))
        for at in range(0, len(data), BYTES)
    ]


def _checksum(copy: Iterable[float], text: Iterable[float]) -> float:
    return float(crc32(array("d", (*copy, *text)).tobytes()))


def newest(snapshot: Snapshot, families: Iterable[Family]) -> dict[Labels, Note]:
    """Return what was written last about each series, among the notes in `families`."""
    found: dict[Labels, Note] = {}
    for family in families:
        for labels, written in snapshot.each(family):
            notes = [_latest(block) for _, block in written]
            known = [note for note in (found.get(labels), *notes) if note is not None]
            if known:
                found[labels] = max(known, key=_age)
    return found


def _age(note: Note) -> tuple[int, float]:
    return note.stamp, note.time


def _latest(block: Sequence[float]) -> Note | None:
    half = len(block) // 2
    first, second = block[:half], block[half:]
    if first[SEQUENCE] > second[SEQUENCE]:
        return _read(first) or _read(second)
    return _read(second) or _read(first)


def _read(copy: Sequence[float]) -> Note | None:
    size = copy[SIZE]
    if not copy[SEQUENCE] or not 0 <= size <= (len(copy) - HEADER) * BYTES:
        return None
    text = copy[HEADER : HEADER + -(-int(size) // BYTES)]
    if copy[CHECKSUM] != _checksum(copy[:CHECKSUM], text):
        return None
    data = b"".join(int(cell).to_bytes(BYTES, "little") for cell in text)[: int(size)]
    words = data.decode("utf-8", "surrogatepass")
    return Note(words, copy[VALUE], copy[SINCE], int(copy[STAMP]))
