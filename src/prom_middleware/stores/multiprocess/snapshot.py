"""All vectors at one moment.

They are read, not mapped: to touch a mapping behind the end of a file is a SIGBUS.
"""

from __future__ import annotations

import errno
import math
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from threading import RLock
from typing import NamedTuple

from prom_middleware import failures
from prom_middleware.stores.base import Family, Labels, Worker
from prom_middleware.stores.multiprocess.layout import (
    CELL,
    FLAGS,
    HEADER_CELLS,
    PID,
    SINCE,
    VECTOR,
    VECTOR_MAGIC,
    is_foreign,
    retires,
)
from prom_middleware.stores.multiprocess.locking import free_flock, try_flock
from prom_middleware.stores.multiprocess.takeover import (
    MODES,
    Offsets,
    Values,
    bury,
    combine,
    disown,
    generation_of,
    is_noisy,
    is_written,
    retired_at,
)
from prom_middleware.stores.multiprocess.takeover import values as own_values

Cells = array  # of "d"
Reader = Callable[[int], bytes]
# What is not a file: deleted meanwhile, a symbolic link, a pipe, a directory.
NO_VECTOR = frozenset((errno.ENOENT, errno.ELOOP, errno.EMLINK, errno.ESPIPE, errno.EISDIR))


class Holding(NamedTuple):
    """A copy of one slot's cells, and who has or had the slot."""

    worker: Worker
    cells: Cells[float]


def up_to(end: int) -> Reader:
    """Return what reads the first `end` cells of a vector."""
    return lambda fd: os.pread(fd, end * CELL, 0)


def runs_of(runs: Sequence[tuple[int, int]]) -> Reader:
    """Return what reads a vector's header, and then runs of cells: first one, how many."""

    def read(fd: int) -> bytes:
        header = os.pread(fd, HEADER_CELLS * CELL, 0)
        if len(header) < HEADER_CELLS * CELL:
            return header
        return header + b"".join(_run(fd, *each) for each in runs)

    return read


def _run(fd: int, first: int, count: int) -> bytes:
    data = os.pread(fd, count * CELL, first * CELL)
    return data[: len(data) - len(data) % CELL].ljust(count * CELL, b"\0")


def read_slots(
    directory: str, number: bytes, end: int, read: Reader, foreign: Callable[[str], None]
) -> list[Holding]:
    """Return what `read` finds in every slot, `end` cells, in the order of the slots.

    Raises OSError where one cannot be read: without it, every counter would seem to have fallen.
    """
    holdings = []
    for name in sorted(os.listdir(directory)):
        match = VECTOR.fullmatch(name)
        live, data = _read_vector(os.path.join(directory, name), read) if match else UNREADABLE
        if is_foreign(name) or data[:8] not in (VECTOR_MAGIC, b""):
            foreign(name)
        elif match and data[:16] == VECTOR_MAGIC + number:
            holdings += hold(data, int(match[1]), live, end)
    return holdings


UNREADABLE = False, b""


def _read_vector(path: str, read: Reader) -> tuple[bool, bytes]:
    try:
        return _read(path, read)
    except OSError as error:
        if error.errno not in NO_VECTOR:
            raise
        failures.report("store", error)
        return UNREADABLE


def _read(path: str, read: Reader) -> tuple[bool, bytes]:
    fd = os.open(path, os.O_RDONLY | FLAGS)
    try:
        # First: a worker that dies after this is read as the living one that it was.
        dead = try_flock(fd)
        try:
            return not dead, read(fd)
        finally:
            if dead:
                free_flock(fd)
    finally:
        os.close(fd)


def cells_of(data: bytes, end: int) -> Cells[float]:
    """Return what was read of a vector as its first `end` cells: where it is shorter, zeros."""
    cells = array("d", data[: len(data) - len(data) % CELL])
    cells.frombytes(bytes((end - len(cells)) * CELL))
    return cells


def hold(data: bytes, slot: int, live: bool, end: int) -> list[Holding]:
    """Return the slot with its cells; nothing if nobody has held it yet."""
    cells = cells_of(data, end)
    generation = generation_of(cells)
    if not generation:
        return []
    if is_noisy(cells):  # the numbers may be right all the same; what dead workers left may not
        failures.report("store", ValueError(f"noise in the header of slot {slot}"))
    cells[0] = cells[1] = 0.0  # magic and id are no numbers, and may be what `fsum` refuses
    return [Holding(Worker(slot, _whole(cells[PID]), live, generation, cells[SINCE]), cells)]


def _whole(value: float) -> int:
    # Somebody may have written noise.
    return int(value) if math.isfinite(value) else 0


class MultiprocessSnapshot:
    """What all workers had recorded; the sums are made when they are asked for."""

    def __init__(
        self,
        holdings: list[Holding],
        blocks: Offsets,
        created: Mapping[int, float],
        since: float,
    ) -> None:
        self.sums = self.agreed = True
        self.workers = tuple(holding.worker for holding in holdings if holding.worker.slot >= 0)
        self._holdings = holdings
        # This one's alone. Before Python 3.12, `cached_property` has one lock for all snapshots: a
        # child that is forked while another thread holds it would wait for it for ever. From then
        # on it has none, and what two threads settle at once is counted twice.
        self._settling = RLock()
        self._is_settled = False
        self._blocks = blocks
        self._created = created
        self._since = since

    def families(self) -> Iterable[Family]:
        """Return every family in the dictionary."""
        return [family for family, blocks in self._blocks.items() if blocks]

    def created(self, family: Family, labels: Labels) -> float:
        """Return when the block was made, in Unix seconds; without a file, the store."""
        offset = self._blocks.get(family, {}).get(labels, 0)
        return self._created.get(offset, self._since)

    def read(self, family: Family) -> Iterator[tuple[Labels, list[float]]]:
        """Yield each block of `family`, summed over all workers; gauges as their mode says."""
        if retires(family):
            yield from self._read_retired(family)
            return
        vectors = [cells for _, cells in self._settled]
        width, nothing = family.width, [0.0] * family.width
        for labels, offset in self._blocks.get(family, {}).items():
            blocks = [cells[offset : offset + width] for cells in vectors]
            yield labels, total(blocks) if blocks else nothing[:]

    def _read_retired(self, family: Family) -> Iterator[tuple[Labels, list[float]]]:
        mode = family.mode if family.mode in MODES else "sum"
        for labels, found in self.each(family):
            blocks = [block for _, block in found]
            together = _together(mode, blocks)
            yield labels, together or [0.0] * family.width

    def each(
        self, family: Family
    ) -> Iterator[tuple[Labels, list[tuple[Worker | None, list[float]]]]]:
        """Yield each block of `family` as each worker wrote it; None: what earlier ones left."""
        settled = self._settled
        for labels, offset in self._blocks.get(family, {}).items():
            found: list[tuple[Worker | None, Values]] = []
            for worker, cells in settled:
                own = own_values(cells, offset, family.width)
                if any(own):
                    found.append((worker, own))
            retired = (
                self._retired(family, offset) if retires(family) and family.mode in MODES else []
            )
            if is_written(retired):
                found.append((None, retired))
            yield labels, found

    def _retired(self, family: Family, offset: int) -> Values:
        left = (
            own_values(cells, retired_at(cells, family, offset), family.width)
            for _, cells in self._settled
        )
        return _together(family.mode, left)

    @property
    def _settled(self) -> list[Holding]:
        # Not while the snapshot is taken: whoever takes it keeps everybody else waiting.
        if not self._is_settled:
            with self._settling:
                self._settle()
        return self._holdings

    def _settle(self) -> None:
        if self._is_settled:  # by another thread, meanwhile
            return
        for worker, cells in self._holdings:
            if not worker.live:
                bury(cells, self._blocks)
            disown(cells, self._blocks)
        self._is_settled = True


def _together(mode: str, blocks: Iterable[Values]) -> Values:
    nothing: Values = []
    return reduce(lambda one, other: combine(mode, one, other), blocks, nothing)


def total(blocks: list[Cells[float]]) -> list[float]:
    """Return the sum of what all workers have of a block, cell by cell.

    Rounded once, by `fsum`: a sum of numbers that only grow must not fall by a rounding error.
    """
    if len(blocks) == 1:
        return blocks[0].tolist()
    try:
        return list(map(math.fsum, zip(*blocks, strict=True)))
    except (OverflowError, ValueError):  # infinities: somebody wrote noise
        return list(map(sum, zip(*blocks, strict=True)))
