"""The store of several processes.

Whatever happens to the directory, `allocate` and `cells` do not raise: what cannot be written to a
file is kept in this process's memory, and carried over when there is a file again.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from math import inf
from time import monotonic, perf_counter, sleep, time
from typing import Any

from prom_middleware import failures
from prom_middleware.stores.base import Family, Labels
from prom_middleware.stores.contract import Cells
from prom_middleware.stores.multiprocess import ending, forking
from prom_middleware.stores.multiprocess.cells import NOTHING, Patched, Unbound
from prom_middleware.stores.multiprocess.dictionary import DamagedError, Dictionary, Index
from prom_middleware.stores.multiprocess.layout import HEADER_CELLS, span
from prom_middleware.stores.multiprocess.locking import BETWEEN_TRIES, DirectoryLock
from prom_middleware.stores.multiprocess.private import Private, estate, view
from prom_middleware.stores.multiprocess.snapshot import (
    Holding,
    MultiprocessSnapshot,
    Reader,
    cells_of,
    hold,
    read_slots,
    runs_of,
    up_to,
)
from prom_middleware.stores.multiprocess.takeover import take_over
from prom_middleware.stores.multiprocess.tally import CellTally
from prom_middleware.stores.multiprocess.upkeep import keep_young
from prom_middleware.stores.multiprocess.vector import Vector, take_slot
from prom_middleware.stores.turn import Turn

# Seconds to wait for the directory's lock: a request, a scrape.
HURRY, PATIENCE = 0.2, 2.0
# Seconds after a failure in which nothing is tried for the sake of a request.
PAUSE = 1.0
# Seconds from one look at the files to the next.
BETWEEN_LOOKS = 1.0
# What says that there is no directory to share, and so nobody to share with.
_NO_DIRECTORY = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG))

Choose = Callable[[Iterable[Family]], Iterable[Family]]


class MultiprocessStore:
    """Keep blocks in files that the processes of one server share.

    Offsets that were handed out become void in `allocate`, `look` and `snapshot` only.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.turn = Turn()
        self.shared = True
        self.born = self.look_at = perf_counter()
        self.renewals: list[Callable[[], object]] = []
        self.arrivals: list[Callable[[], object]] = []
        self.directory = os.fspath(directory)
        self._lock = DirectoryLock(self.directory)
        self._index = Index()
        self._dictionary = Dictionary(self.directory, self._index)
        self._index_of = b""
        self._vector: Vector | None = None
        self._private = Private()
        self._retry_at = self._in_vain_until = 0.0
        self._made: bool | None = None
        self._foreign: set[str] = set()
        self._pid, self._since = os.getpid(), time()
        self.cells: Cells = Unbound(self._bind)
        forking.watch(self)

    def offsets(self, family: Family) -> dict[Labels, int]:
        """Return the living map from label values to the first cell of their block."""
        return self._index.of(family)

    def allocate(self, family: Family, labels: Labels) -> int:
        """Return the first cell of the block for `labels`, made with zeros if it is new."""
        self.check_process()
        offsets = self._index.of(family)
        if labels not in offsets:
            self._try(self._enter, family, offsets, labels)
        if labels not in offsets:
            offsets[labels] = self._private.allocate(family, labels)
        return offsets[labels]

    def claim(self, family: Family, labels: Labels) -> bool | None:
        """Make the block for `labels`, and tell whether no process had it; waits as a scrape.

        None: that could not be found out.
        """
        self.check_process()
        self._made = None
        patience = 0.0 if monotonic() < self._in_vain_until else PATIENCE
        self._try_for(patience, self._enter, family, self._index.of(family), labels)
        self._in_vain_until = max(self._in_vain_until, self._retry_at)
        return self._made

    def tally(self, family: Family, labels: Labels) -> CellTally:
        """Return what counts in a block of one cell."""
        self.allocate(family, labels)
        return CellTally(self, family, labels)

    def look(self, now: float) -> None:
        """Notice that the files are gone: a worker that knows all its labels would never."""
        if now > self.look_at:
            self.look_at = now + BETWEEN_LOOKS
            if self._is_gone():
                self._try(self._agree)

    def _is_gone(self) -> bool:
        vector = self._vector
        try:
            return vector is not None and not (vector.is_linked() and self._dictionary.is_current())
        except OSError:
            return True

    def snapshot(self) -> MultiprocessSnapshot:
        """Return what all processes have recorded; where there are no files, what this one has.

        Raises OSError where there are files that cannot be read.
        """
        # One scrape takes several snapshots: who has the lock for good is waited for once.
        patience = HURRY if monotonic() < self._in_vain_until else PATIENCE
        deadline = monotonic() + patience
        # Between two looks at the lock the turn is free: else all that is recorded meanwhile would
        # wait in memory, and be lost with the process.
        while (taken := self.turn.read(partial(self._take_snapshot, deadline))) is None:
            sleep(BETWEEN_TRIES)
        return taken

    def _take_snapshot(self, deadline: float) -> MultiprocessSnapshot | None:
        self.check_process()
        try:
            self.turn.waits = True
            return self._snapshot()
        except Exception as error:
            if isinstance(error, TimeoutError):
                if monotonic() < deadline:
                    return None
                self._in_vain_until = monotonic() + PAUSE
            self._failed(error)
            return self._view()
        finally:
            self.turn.waits = False

    def _snapshot(self) -> MultiprocessSnapshot:
        with self._lock.held(0):
            try:
                self._agree()
            except Exception as error:
                self._failed(error)
            keep_young(self.directory, self._lock.modified)
            return self._view()

    def extract(self, choose: Choose, labels: Labels | None = None) -> MultiprocessSnapshot:
        """Return what all processes have recorded in the blocks for `labels` of some families.

        `choose` is given all families. Without labels, it is a whole snapshot; either way the lock
        is not waited for longer than for the sake of a request.
        """
        self.check_process()
        found: list[MultiprocessSnapshot] = []
        self._try(self._extract, choose, labels, found)
        if found:
            return found[0]
        part = self._part(choose, labels)
        part.agreed = False
        return part

    def check_process(self) -> None:
        """Notice that this is a forked child, where no hook told it."""
        if os.getpid() != self._pid:
            self.forked()

    def forked(self) -> None:
        """Give up what is the parent's: its slot, its locks, its updates."""
        self._pid, self._since = os.getpid(), time()
        self.born, self.look_at = perf_counter(), -inf
        self._lock.close()
        self._dictionary.close()
        self._private.forget()
        self._retry_at = 0.0
        self.close()
        self.turn.forget()

    def close(self) -> None:
        """Leave the slot to others; the next write takes one again."""
        vector, self._vector = self._vector, None
        self.cells = Unbound(self._bind)
        if vector is not None:
            vector.close()

    def conclude(self, hurry: bool) -> None:
        """Write to the files what is in memory: the process ends, and has the time or none."""
        if self._private.cells and os.getpid() == self._pid:
            self._try_for(HURRY if hurry else PATIENCE, self._agree)

    def _bind(self) -> Cells:
        self.check_process()
        if isinstance(self.cells, Unbound):
            # From here on `_agree` takes a slot, now or as soon as there is one.
            self._patch_with(NOTHING)
            # But the offset of the write that waits must stay right: nothing may be moved.
            self._try(self._agree, False)
            self._arrive()
        return self.cells

    def _arrive(self) -> None:
        # After the write: whoever has the turn looks there.
        self.turn.pending.extend((arrival, ()) for arrival in self.arrivals)

    def _try(self, change: Callable[..., None], *arguments: Any) -> None:
        if monotonic() >= self._retry_at:
            self._try_for(HURRY, change, *arguments)

    def _try_for(self, seconds: float, change: Callable[..., None], *arguments: Any) -> None:
        try:
            self.turn.waits = True
            with self._lock.held(seconds):
                change(*arguments)
        except Exception as error:
            self._failed(error)
        finally:
            self.turn.waits = False

    def _failed(self, error: Exception) -> None:
        failures.report("store", error)
        self._retry_at = monotonic() + PAUSE
        self._patch()
        ending.watch(self)

    def _patch(self) -> None:
        if not isinstance(self.cells, Unbound):
            self._patch_with(self._mapped())

    def _patch_with(self, mapped: memoryview[float]) -> None:
        self.cells = Patched(mapped, self._private.cells, self._retry)

    def _mapped(self) -> memoryview[float]:
        return self._vector.cells if self._vector is not None else NOTHING

    def _retry(self) -> memoryview[float]:
        # A worker that knows all its labels allocates nothing: its writes have to try.
        if not self._private.blocks:
            self._try(self._agree, False)
        elif monotonic() >= self._retry_at:
            # This write has an offset that must stay right until it is done.
            self.turn.pending.append((self._settle, ()))
        return self._mapped()

    def _settle(self) -> None:
        if self._private.blocks:  # not yet settled by another write's trying
            self._try(self._agree)

    # What follows is done with the directory's lock.

    def _enter(self, family: Family, offsets: dict[Labels, int], labels: Labels) -> None:
        self._agree()
        is_new = labels not in offsets
        if is_new:
            self._dictionary.add(family, labels)
            if self._vector is not None:
                self._cover(self._vector)
        self._made = is_new

    def _agree(self, moving: bool = True) -> None:
        if not moving and self._private.blocks:
            return
        self._read_dictionary(moving)
        if self._private and self._private.enter(self._dictionary, self._index):
            self._renew()
        if not isinstance(self.cells, Unbound):
            self._cover(self._slot())
        self._retry_at = 0.0

    def _read_dictionary(self, moving: bool) -> None:
        try:
            if not self._dictionary.is_current():
                self._dictionary.open()
            if self._dictionary.id != self._index_of:
                self._withdraw(moving)
            self._dictionary.refresh()
        except DamagedError as error:
            failures.report("store", error)
            self._dictionary.set_aside()
            self._dictionary.open()
            self._withdraw(moving)
            self._dictionary.refresh()

    def _withdraw(self, moving: bool) -> None:
        # Another dictionary: only what this process has in its own slot can be carried over.
        known, self._index_of = self._index_of, self._dictionary.id
        if known in (b"", self._index_of):
            return
        if not moving:
            self._index_of = known
            raise LookupError("another dictionary, under a write that has its offset already")
        failures.report("store", LookupError("the dictionary was deleted or replaced"))
        cells = self._leave()
        self._private.take_placed(cells)
        left = list(estate(self._index, cells))
        self._index.clear()
        self._renew()
        for family, labels, values in left:
            offset = self._index.of(family)[labels] = self._private.allocate(family, labels)
            self._private.add(offset, values)

    def _renew(self) -> None:
        # A copy: who is gone takes its own away, at any moment.
        for renewal in list(self.renewals):
            renewal()

    def _slot(self) -> Vector:
        vector = self._vector
        if vector is not None and vector.is_sound():
            return vector
        if vector is not None:
            for family, labels, values in estate(self._index, self._leave()):
                self._private.add(self._index.of(family)[labels], values)
        self._vector = self._take()
        return self._vector

    def _leave(self) -> array[float]:
        # The file is read, not the mapping: it may have been cut.
        vector, self._vector = self._vector, None
        data = b""
        if vector is not None:
            with suppress(OSError):
                data = vector.read(up_to(self._index.end))
            vector.close()
            self._patch()
        return cells_of(data, self._index.end)

    def _take(self) -> Vector:
        vector = take_slot(self.directory, self._dictionary.id)
        try:
            vector.cover(self._index.end)
        except OSError:
            vector.cover(0)
        take_over(vector.cells, dict(self._index.families()), os.getpid(), time())
        return vector

    def _cover(self, vector: Vector) -> None:
        # Where all cells are mapped, nothing is in memory: what fails has them `Patched`.
        if self.cells is vector.cells and self._index.end <= len(vector.cells):
            return
        vector.cover(self._index.end)
        carried = self._private.pour(vector.cells)
        if self._private:
            self._patch()
            return
        self.cells = vector.cells
        if carried:
            self._arrive()

    def _extract(
        self, choose: Choose, labels: Labels | None, found: list[MultiprocessSnapshot]
    ) -> None:
        try:
            self._agree()
        except Exception as error:
            self._failed(error)
        found.append(self._part(choose, labels))

    def _part(self, choose: Choose, labels: Labels | None) -> MultiprocessSnapshot:
        if labels is None or self._private:
            return self._view()
        index, blocks, end = self._index, {}, HEADER_CELLS
        runs, created = [], {}
        for family in choose(list(index.offsets)):
            offset = index.of(family).get(labels)
            if offset is not None:
                blocks[family], created[end] = {labels: end}, index.created[offset]
                runs.append((offset, span(family)))
                end += span(family)
        holdings = self._holdings(end, runs_of(runs)) if runs else []
        return MultiprocessSnapshot(holdings, blocks, created, self._since)

    def _view(self) -> MultiprocessSnapshot:
        end = self._index.end
        holdings = self._holdings(end, up_to(end))
        return view(self._index, self._private, holdings, self._vector, self._since)

    def _holdings(self, end: int, read: Reader) -> list[Holding]:
        try:
            return read_slots(self.directory, self._dictionary.id, end, read, self._name_foreign)
        except OSError as error:
            if not (error.errno in _NO_DIRECTORY or self._is_shut_out(error)):
                raise
            failures.report("store", error)
        vector = self._vector
        return hold(vector.read(read), vector.slot, True, end) if vector else []

    def _is_shut_out(self, error: OSError) -> bool:
        # Who shares the directory must not leave out a file in it; who cannot, has only his own.
        return isinstance(error, PermissionError) and (
            error.filename == self.directory or not self._lock.is_open()
        )

    def _name_foreign(self, name: str) -> None:
        if name not in self._foreign:
            self._foreign.add(name)
            error = ValueError(f"{name} in {self.directory} is not of this version; left alone")
            failures.report("store.foreign", error)
