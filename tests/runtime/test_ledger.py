"""CPU time under any sequence of lives, deaths and scrapes that overlap.

The workers are stores in one process: a lock belongs to an open file description, so that they are
as much apart as processes are. What /proc says of them is ours, and a slot is given its process by
writing the id where the store has it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from prom_middleware import failures
from prom_middleware.runtime.holders import find_holders
from prom_middleware.runtime.ledger import FAMILY, WIDTH, Note, read_notes, record, write_note
from prom_middleware.runtime.procfs import Procfs
from prom_middleware.stores import MemoryStore, Snapshot, turn
from prom_middleware.stores.multiprocess import MultiprocessStore
from prom_middleware.stores.multiprocess.layout import PID
from runtime.proc import boot, end_process, run_process
from stores.multiprocess.children import REQUESTS, add

PICK = st.integers(0, 99)
FIRST_PID = 4_200_000  # more than Linux gives: none of these is a real process


@dataclass(eq=False)
class Worker:
    """A store, and the process that the model thinks it is in."""

    store: MultiprocessStore
    pid: int
    start: int
    cpu: int = 0
    noted: int = 0
    has_slot: bool = False


@dataclass(eq=False)
class Scrape:
    """A scrape that has its snapshot, perhaps looked at the processes, and not yet written."""

    worker: Worker
    snapshot: Snapshot
    notes: Mapping[int, Sequence[Note]]
    at_least: float
    seen: dict[int, Note] | None = None

    def look(self, proc: Path) -> None:
        holders = find_holders(Procfs(str(proc)), self.snapshot.workers, self.notes)
        self.seen = {slot: holder.note() for slot, holder in holders.items()}


class Lives(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(mkdtemp())
        self.proc = boot(self.root / "proc")
        self.workers: list[Worker] = []
        self.dead: list[Worker] = []
        self.scrapes: list[Scrape] = []
        self.started = 0
        self.shown = 0.0
        self.overlapped = False
        self.failures = failures.counts()

    def teardown(self) -> None:
        assert failures.counts() == self.failures
        shutil.rmtree(self.root)

    @precondition(lambda self: len(self.workers) < 4)
    @rule(reuse=st.booleans())
    def start(self, reuse: bool) -> None:
        """Start a worker; it may get the process id of a dead one."""
        self.started += 1
        living = {worker.pid for worker in self.workers}
        old = [worker.pid for worker in self.dead if worker.pid not in living]
        pid = old[0] if reuse and old and not self.scrapes else FIRST_PID + self.started
        store = MultiprocessStore(self.root / "metrics")
        self.workers.append(Worker(store, pid, start=100 + self.started))
        run_process(self.proc, pid, start=100 + self.started)

    @precondition(lambda self: self.workers)
    @rule(pick=PICK)
    def serve(self, pick: int) -> None:
        """Take a slot."""
        worker = self.workers[pick % len(self.workers)]
        add(worker.store, REQUESTS, ("/",), 1)
        worker.store.cells[PID] = worker.pid
        worker.has_slot = True

    @precondition(lambda self: self.workers)
    @rule(pick=PICK, ticks=st.integers(1, 50))
    def work(self, pick: int, ticks: int) -> None:
        worker = self.workers[pick % len(self.workers)]
        worker.cpu += ticks
        run_process(self.proc, worker.pid, start=worker.start, cpu=worker.cpu)

    @precondition(lambda self: self.workers)
    @rule(pick=PICK)
    def kill(self, pick: int) -> None:
        worker = self.workers.pop(pick % len(self.workers))
        worker.store.close()
        end_process(self.proc, worker.pid)
        self.dead.append(worker)
        self.scrapes = [scrape for scrape in self.scrapes if scrape.worker is not worker]

    @precondition(lambda self: any(worker.has_slot for worker in self.workers))
    @rule(pick=PICK)
    def begin_scrape(self, pick: int) -> None:
        able = [worker for worker in self.workers if worker.has_slot]
        worker = able[pick % len(able)]
        snapshot = worker.store.snapshot()
        self.overlapped = self.overlapped or bool(self.scrapes)
        self.scrapes.append(Scrape(worker, snapshot, read_notes(snapshot), self.shown))

    @precondition(lambda self: self.scrapes)
    @rule(pick=PICK)
    def look_at_processes(self, pick: int) -> None:
        self.scrapes[pick % len(self.scrapes)].look(self.proc)

    @precondition(lambda self: self.scrapes)
    @rule(pick=PICK)
    def end_scrape(self, pick: int) -> None:
        scrape = self.scrapes.pop(pick % len(self.scrapes))
        if scrape.seen is None:
            scrape.look(self.proc)
        shown = record(scrape.worker.store, scrape.notes, scrape.seen)
        ever = [*self.workers, *self.dead]
        # Whoever has ended before this began has shown no more; nobody shows more than was used.
        assert scrape.at_least <= shown <= sum(worker.cpu for worker in ever)
        self.shown = max(self.shown, shown)
        found = {(note.pid, note.start): int(note.cpu) for note in scrape.seen.values()}
        for worker in ever:
            worker.noted = max(worker.noted, found.get((worker.pid, worker.start), 0))
        if not self.overlapped:
            assert shown == sum(worker.noted for worker in ever)

    @precondition(lambda self: any(worker.has_slot for worker in self.workers))
    @rule(pick=PICK)
    def scrape(self, pick: int) -> None:
        self.begin_scrape(pick)
        self.end_scrape(len(self.scrapes) - 1)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestLives.pytestmark = [pytest.mark.once]


class Cells:
    """Cells of a writer that is killed after some writes."""

    def __init__(self, cells: object, writes: int) -> None:
        self.cells, self.writes = cells, writes

    def __getitem__(self, index: int) -> float:
        return self.cells[index]

    def __setitem__(self, index: int, value: float) -> None:
        if not self.writes:
            raise KeyboardInterrupt
        self.writes -= 1
        self.cells[index] = value


def note(earlier: float, cpu: float, pid: float = 1.0) -> Note:
    return Note(since=5.0, pid=pid, start=9.0, earlier=earlier, cpu=cpu)


@pytest.mark.parametrize("writes", range(WIDTH))
def test_a_note_that_is_half_written_leaves_the_one_before(writes: int) -> None:
    store = MemoryStore()
    write_note(store, 0, note(1, 2))
    write_note(store, 0, note(1, 4))
    whole = store.cells
    store.cells = Cells(whole, writes)
    with pytest.raises(KeyboardInterrupt):
        write_note(store, 0, note(5, 7, pid=2.0))
    store.cells = whole
    assert note(1, 4) in read_notes(store.snapshot())[0]
    assert {found.total for found in read_notes(store.snapshot())[0]} <= {3, 5}
    write_note(store, 0, note(5, 7, pid=2.0))
    assert read_notes(store.snapshot())[0] == [note(5, 7, pid=2.0), note(1, 4)]


def test_noise_among_the_notes_is_no_note() -> None:
    store = MemoryStore()
    offset = store.allocate(FAMILY, ("3",))
    for index in range(2 * WIDTH):
        store.cells[offset + index] = float("nan") if index % 2 else 1e300
    assert read_notes(store.snapshot()) == {3: []}
    assert record(store, read_notes(store.snapshot()), {3: note(0, 4)}) == 4


def test_a_thread_that_comes_late_with_less_overwrites_nothing() -> None:
    store = MemoryStore()
    write_note(store, 0, note(0, 8))
    write_note(store, 0, note(0, 9))
    assert record(store, {}, {0: note(0, 1)}) == 1
    assert read_notes(store.snapshot())[0] == [note(0, 8), note(0, 9)]


def test_a_thread_that_comes_late_with_more_hides_no_later_holder() -> None:
    store = MemoryStore()
    write_note(store, 0, note(0, 5))
    write_note(store, 0, note(5, 1, pid=2.0))
    # It saw the first holder before the second came, and more of it than anybody else.
    assert record(store, {}, {0: note(0, 7)}) == 7
    assert record(store, read_notes(store.snapshot()), {0: note(0, 2, pid=2.0)}) == 9


def test_who_takes_a_slot_again_is_counted_once() -> None:
    store = MemoryStore()
    assert record(store, {}, {0: note(3, 5)}) == 8
    again = note(0, 7)._replace(since=6.0)
    assert record(store, read_notes(store.snapshot()), {0: again}) == 10


def test_what_was_noted_twice_of_who_is_gone_is_counted_once() -> None:
    store = MemoryStore()
    write_note(store, 0, note(3, 8))
    write_note(store, 0, note(3, 9))
    assert record(store, read_notes(store.snapshot()), {}) == 12


def test_who_has_used_nothing_yet_is_noted() -> None:
    """So that the process is known when the clock is set."""
    store = MemoryStore()
    assert record(store, {}, {0: note(0, 0)}) == 0
    assert read_notes(store.snapshot()) == {0: [note(0, 0)]}


def test_what_is_shown_has_been_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the turn at that moment: he gives it back while we wait for it."""
    store = MemoryStore()
    give = store.turn.tokens.pop()
    monkeypatch.setattr(turn, "sleep", lambda seconds: give(give))
    assert record(store, {}, {0: note(0, 5)}) == 5
    assert read_notes(store.extract(None)) == {0: [note(0, 5)]}


def test_a_system_that_takes_cpu_time_back_makes_no_sum_fall() -> None:
    store = MemoryStore()
    assert record(store, {}, {0: note(3, 9)}) == 12
    assert record(store, read_notes(store.snapshot()), {0: note(0, 7)}) == 12
