"""Who holds the slots of a store, and whether /proc tells of the same process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from prom_middleware import failures
from prom_middleware.runtime.ledger import Note
from prom_middleware.runtime.procfs import Process, Procfs
from prom_middleware.stores import Worker

if TYPE_CHECKING:
    from prom_middleware.runtime.ledger import Notes

# Seconds by which a process may seem to begin after it took its slot: /proc/stat rounds them.
SLACK = 2.0


class Holder(NamedTuple):
    """A slot's process, alive."""

    worker: Worker
    process: Process

    @property
    def lead(self) -> float:
        """Return the seconds by which the process began after it took the slot: less than 0."""
        return self.process.begun - self.worker.since

    def note(self) -> Note:
        """Return what is seen of the slot now."""
        process = self.process
        return Note(self.worker.since, process.pid, process.start, 0.0, process.cpu)


def find_holders(proc: Procfs, workers: Sequence[Worker], notes: Notes) -> dict[int, Holder]:
    """Return by slot who holds it and is alive."""
    holders = list(_alive(proc, workers))
    # What has happened to our own process for sure, somebody who set the clock did to all.
    own = [holder.lead for holder in holders if holder.worker.pid == os.getpid()]
    latest = max([0.0, *own]) + SLACK
    return {
        holder.worker.slot: holder
        for holder in holders
        if _is_same(holder, notes.get(holder.worker.slot, ()), latest)
    }


def _alive(proc: Procfs, workers: Sequence[Worker]) -> Iterator[Holder]:
    seen = set()
    # A process with two stores has two slots: what was noted of it, at the one it took first.
    for worker in sorted(workers, key=lambda worker: worker.since):
        if not worker.live or worker.pid in seen:
            continue
        seen.add(worker.pid)
        process = proc.process(worker.pid)
        if process is not None:
            yield Holder(worker, process)


def _is_same(holder: Holder, notes: Sequence[Note], latest: float) -> bool:
    """Tell whether the process that has the pid now is the one that took the slot.

    What was noted at an earlier scrape says so whatever the clock does.
    """
    worker, seen = holder.worker, holder.note()
    noted = [note for note in notes if note.since == worker.since]
    same = all(note.is_of(seen) for note in noted) if noted else holder.lead <= latest
    if not same:
        error = LookupError(f"process {worker.pid} is not the one that took slot {worker.slot}")
        failures.report("process", error)
    return same
