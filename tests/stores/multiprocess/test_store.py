"""The contract of a store, kept by the one of several processes, and its slots."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import struct
from pathlib import Path
from time import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_middleware import failures
from prom_middleware.stores import Family, Settlement, Store
from prom_middleware.stores.multiprocess import MultiprocessStore
from prom_middleware.stores.multiprocess import store as store_module
from prom_middleware.stores.multiprocess.layout import DICTIONARY_HEADER
from prom_middleware.stores.multiprocess.locking import BETWEEN_TRIES
from stores.multiprocess.children import LIVE, REQUESTS, add, end, fork, killed, read, run, vectors

SETTLED = Family("settled", ("route",), 3, settlement=Settlement(0, (1, 2), 2))


@pytest.fixture
def store(tmp_path: Path) -> MultiprocessStore:
    return MultiprocessStore(tmp_path)


def test_it_is_a_store(store: MultiprocessStore) -> None:
    taken: Store = store
    taken.cells[taken.allocate(REQUESTS, ("/",))] += 1
    (worker,) = taken.snapshot().workers
    assert (worker.slot, worker.pid, worker.live, worker.generation) == (0, os.getpid(), True, 1)
    assert worker.since == pytest.approx(time(), abs=60)


def test_a_new_block_is_zeros(store: MultiprocessStore) -> None:
    store.allocate(REQUESTS, ("/",))
    assert read(store, REQUESTS) == {("/",): [0.0, 0.0, 0.0]}


def test_the_same_labels_have_the_same_block(store: MultiprocessStore) -> None:
    first = store.allocate(REQUESTS, ("/",))
    store.cells[first + 1] += 2.5
    assert store.allocate(REQUESTS, ("/",)) == first
    assert read(store, REQUESTS) == {("/",): [0.0, 2.5, 0.0]}


def test_others_read_a_tally_in_its_block(store: MultiprocessStore, tmp_path: Path) -> None:
    tally = store.tally(LIVE, ())
    for _ in range(3):
        tally.append(None)
    tally.pop()
    assert read(store, LIVE) == read(MultiprocessStore(tmp_path), LIVE) == {(): [2.0]}


def test_a_tally_counts_while_somebody_writes(store: MultiprocessStore) -> None:
    tally = store.tally(LIVE, ())
    give = store.turn.tokens.pop()
    tally.append(None)
    give(give)
    store.turn.drain()
    assert read(store, LIVE) == {(): [1.0]}


def test_families_are_apart_and_every_field_tells_them_apart(store: MultiprocessStore) -> None:
    others = [
        REQUESTS._replace(scope="other"),
        REQUESTS._replace(bounds=(0.5, float("inf"))),
        REQUESTS._replace(help="Other."),
        REQUESTS._replace(kind="counter"),
        REQUESTS._replace(settlement=Settlement(0, (1,), 2)),
        REQUESTS._replace(mode="sum"),
        REQUESTS._replace(live=True),
    ]
    for number, family in enumerate([REQUESTS, *others]):
        add(store, family, ("/",), number + 1, 0, 1)
    found = MultiprocessStore(store.directory).snapshot()
    assert list(found.families()) == [REQUESTS, *others]
    for number, family in enumerate([REQUESTS, *others]):
        assert next(found.read(family))[1][0] == number + 1


def test_a_family_without_blocks_is_empty(store: MultiprocessStore) -> None:
    assert store.offsets(REQUESTS) == {}
    assert read(store, REQUESTS) == {}
    assert list(store.snapshot().families()) == []


def test_offsets_are_a_living_map(store: MultiprocessStore) -> None:
    offsets = store.offsets(REQUESTS)
    offset = store.allocate(REQUESTS, ("/",))
    assert offsets == {("/",): offset}
    assert store.offsets(REQUESTS) is offsets


def test_what_was_read_does_not_change(store: MultiprocessStore) -> None:
    add(store, REQUESTS, ("/",), 1)
    taken = store.snapshot()
    add(store, REQUESTS, ("/",), 1)
    add(store, REQUESTS, ("/new",), 1)
    assert dict(taken.read(REQUESTS)) == {("/",): [1.0, 0.0, 0.0]}


def test_a_block_knows_when_it_was_made(store: MultiprocessStore) -> None:
    before = time()
    add(store, REQUESTS, ("/",), 1)
    created = store.snapshot().created(REQUESTS, ("/",))
    assert before <= created <= time()
    other = MultiprocessStore(store.directory)
    assert other.snapshot().created(REQUESTS, ("/",)) == created


def test_neither_making_a_store_nor_a_snapshot_nor_a_block_takes_a_slot(tmp_path: Path) -> None:
    store = MultiprocessStore(tmp_path / "metrics")
    assert not (tmp_path / "metrics").exists()
    assert store.snapshot().workers == ()
    store.allocate(REQUESTS, ("/",))
    assert vectors(tmp_path / "metrics") == []
    add(store, REQUESTS, ("/",), 1)
    assert vectors(tmp_path / "metrics") == ["prom_middleware-1.0000.vector"]


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    store = MultiprocessStore(directory)
    add(store, REQUESTS, ("/",), 1)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {0o600}


@given(
    st.lists(
        st.tuples(
            st.sampled_from([REQUESTS, SETTLED]),
            st.text(st.characters(exclude_categories=()), max_size=2),
            st.integers(1, 9),
        )
    )
)
@settings(max_examples=30, deadline=None)
def test_any_updates_are_read_back_by_another_process(
    tmp_path_factory: pytest.TempPathFactory, updates: list[tuple[Family, str, int]]
) -> None:
    directory = tmp_path_factory.mktemp("metrics")
    store = MultiprocessStore(directory)
    model: dict[tuple[Family, tuple[str, ...]], list[float]] = {}
    for family, text, amount in updates:
        block = model.setdefault((family, (text,)), [0.0] * 3)
        block[amount % 3] += amount
        add(store, family, (text,), *[amount if cell == amount % 3 else 0 for cell in range(3)])
    other = MultiprocessStore(directory).snapshot()
    found = {(f, labels): block for f in (REQUESTS, SETTLED) for labels, block in other.read(f)}
    assert found == model


def test_cells_grow_without_losing_what_was_there(store: MultiprocessStore) -> None:
    wide = Family("wide", ("n",), 1000)
    for number in range(40):
        add(store, wide, (str(number),), number + 1)
    assert [block[0] for block in read(store, wide).values()] == list(range(1, 41))
    assert os.stat(Path(store.directory) / vectors(Path(store.directory))[0]).st_size >= 320_000


def test_a_block_made_by_another_process_can_be_written_after_a_snapshot(
    tmp_path: Path,
) -> None:
    one, other = MultiprocessStore(tmp_path), MultiprocessStore(tmp_path)
    add(other, REQUESTS, ("/",), 1)
    for number in range(4000):
        one.allocate(REQUESTS, (str(number),))
    other.snapshot()
    add(other, REQUESTS, ("3999",), 1)
    assert read(one, REQUESTS)[("3999",)] == [1.0, 0.0, 0.0]


def test_all_workers_have_a_block_at_the_same_place(tmp_path: Path) -> None:
    one, other = MultiprocessStore(tmp_path), MultiprocessStore(tmp_path)
    places = [one.allocate(REQUESTS, (route,)) for route in "abc"]
    assert [other.allocate(REQUESTS, (route,)) for route in "cba"] == places[::-1]
    assert other.offsets(REQUESTS) == one.offsets(REQUESTS)


def _record(directory: str, route: str) -> None:
    store = MultiprocessStore(directory)
    for _ in range(1000):
        add(store, REQUESTS, ("shared",), 1)
        add(store, REQUESTS, (route,), 1)


def test_processes_that_were_spawned_add_to_one_sum(store: MultiprocessStore) -> None:
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=_record, args=(store.directory, route)) for route in ("a", "b")
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert read(store, REQUESTS) == {
        ("shared",): [2000.0, 0.0, 0.0],
        ("a",): [1000.0, 0.0, 0.0],
        ("b",): [1000.0, 0.0, 0.0],
    }


def test_a_forked_child_takes_a_slot_of_its_own(store: MultiprocessStore) -> None:
    add(store, REQUESTS, ("/",), 1)
    assert run(lambda: add(store, REQUESTS, ("/",), 2)) == 0
    assert read(store, REQUESTS) == {("/",): [3.0, 0.0, 0.0]}
    mine, dead = store.snapshot().workers
    assert (mine.pid, mine.live, dead.slot, dead.live) == (os.getpid(), True, 1, False)


def test_a_forked_child_that_records_nothing_has_no_slot_and_keeps_no_lock(
    store: MultiprocessStore,
) -> None:
    add(store, REQUESTS, ("/",), 1)
    # As the frame has them that a fork interrupted: the mapping stays, and must hold no lock.
    cells = store.cells
    (ready, told), (wait, go) = os.pipe(), os.pipe()

    def idle() -> None:
        os.close(go)
        os.write(told, b".")
        os.read(wait, 1)

    child = fork(idle)
    os.read(ready, 1)
    store.close()
    (worker,) = store.snapshot().workers
    os.close(go)
    assert end(child) == 0
    for fd in (ready, told, wait):
        os.close(fd)
    assert not worker.live
    assert len(cells) > 0  # type: ignore[arg-type]


def test_a_child_forked_without_hooks_notices_by_its_process_id(
    store: MultiprocessStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, REQUESTS, ("/",), 1)
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)
    store.turn.pending.append((print, ()))
    store.check_process()
    assert not store.turn.pending
    add(store, REQUESTS, ("/",), 1)
    (worker,) = store.snapshot().workers
    assert (worker.pid, worker.generation) == (here + 1, 2)


def test_a_restarted_worker_goes_on_where_the_dead_one_stopped(store: MultiprocessStore) -> None:
    for number in range(1, 4):
        killed(lambda: add(store, REQUESTS, ("/",), 1))
        assert read(store, REQUESTS) == {("/",): [float(number), 0.0, 0.0]}
        (worker,) = store.snapshot().workers
        assert (worker.live, worker.generation) == (False, number)


def test_a_record_that_is_read_twice_changes_nothing(store: MultiprocessStore) -> None:
    """A fork may copy a reader that has read the file and not yet noted how far."""
    add(store, REQUESTS, ("/",), 1)
    before, offsets = failures.counts(), dict(store.offsets(REQUESTS))
    store._dictionary._position = DICTIONARY_HEADER.size
    add(store, REQUESTS, ("/new",), 1)
    assert offsets.items() <= store.offsets(REQUESTS).items()
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0], ("/new",): [1.0, 0.0, 0.0]}
    assert failures.counts() == before


def test_fractions_are_summed_without_an_error_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The dictionary's id is in each vector's header; read as a number, it must not spoil a sum.
    monkeypatch.setattr(os, "urandom", lambda size: struct.pack("=d", 1.7e308))
    stores = [MultiprocessStore(tmp_path) for _ in range(10)]
    for store in stores:
        add(store, REQUESTS, ("/",), 0.1)
    assert read(stores[0], REQUESTS) == {("/",): [1.0, 0.0, 0.0]}


@pytest.mark.forks
@pytest.mark.once
def test_two_hundred_dead_writers_leave_one_file(store: MultiprocessStore, tmp_path: Path) -> None:
    for number in range(200):
        run(lambda number=number: add(store, REQUESTS, (str(number % 7),), 1))
    assert sum(block[0] for block in read(store, REQUESTS).values()) == 200
    assert len(list(tmp_path.iterdir())) == 3


def test_sixty_five_workers_have_sixty_five_slots(tmp_path: Path) -> None:
    stores = [MultiprocessStore(tmp_path) for _ in range(65)]
    for store in stores:
        add(store, REQUESTS, ("/",), 1, 0.5)
    assert read(stores[0], REQUESTS) == {("/",): [65.0, 32.5, 0.0]}
    assert [worker.slot for worker in stores[0].snapshot().workers] == list(range(65))
    each = dict(stores[0].snapshot().each(REQUESTS))[("/",)]
    assert [block for _, block in each] == [[1.0, 0.5, 0.0]] * 65
    del stores
    last = MultiprocessStore(tmp_path)
    add(last, REQUESTS, ("/",), 1)
    assert len(vectors(tmp_path)) == 65


def test_a_worker_with_the_process_id_of_a_dead_one_is_another(tmp_path: Path) -> None:
    first = MultiprocessStore(tmp_path)
    add(first, LIVE, (), 5)
    add(first, REQUESTS, ("/",), 5)
    first.close()
    again = MultiprocessStore(tmp_path)
    add(again, REQUESTS, ("/",), 1)
    (worker,) = again.snapshot().workers
    assert (worker.pid, worker.generation) == (os.getpid(), 2)
    assert read(again, LIVE) == {(): [0.0]}
    assert read(again, REQUESTS) == {("/",): [6.0, 0.0, 0.0]}


def test_live_cells_of_a_dead_worker_are_gone_at_once(store: MultiprocessStore) -> None:
    add(store, LIVE, (), 1)
    killed(lambda: add(store, LIVE, (), 5))
    assert read(store, LIVE) == {(): [1.0]}
    ((_, each),) = store.snapshot().each(LIVE)
    assert [(worker.pid, block) for worker, block in each if worker] == [(os.getpid(), [1.0])]


def test_a_sum_of_one_cell_outlives_its_workers(store: MultiprocessStore) -> None:
    gauge = Family("gauge", (), 1, mode="sum")
    for _ in range(3):
        killed(lambda: add(store, gauge, (), 2))
    assert read(store, gauge) == {(): [6.0]}
    ((_, each),) = store.snapshot().each(gauge)
    assert [(worker and worker.generation, block) for worker, block in each] == [
        (3, [2.0]),
        (None, [4.0]),
    ]


def test_what_a_dead_worker_left_open_is_settled_once(store: MultiprocessStore) -> None:
    add(store, SETTLED, ("/",), 1)
    killed(lambda: add(store, SETTLED, ("/",), 5, 3))
    assert read(store, SETTLED) == {("/",): [6.0, 3.0, 2.0]}
    for _ in range(3):
        killed(lambda: add(store, SETTLED, ("/",), 0))
        assert read(store, SETTLED) == {("/",): [6.0, 3.0, 2.0]}


def test_what_is_counted_twice_is_settled_twice(store: MultiprocessStore) -> None:
    # The cells 4 and 5 count what 2 does; what is in 1 is in no other.
    twice = SETTLED._replace(width=6, settlement=Settlement(0, (1, 2), 2, (1, 2, 4, 6)))
    add(store, twice, ("/",), 1)
    # It died after it had counted the last one for the first time.
    killed(lambda: add(store, twice, ("/",), 6, 2, 1, 0, 2))
    settled = {("/",): [7.0, 2.0, 4.0, 0.0, 2.0, 2.0]}
    assert read(store, twice) == settled
    for _ in range(3):
        killed(lambda: add(store, twice, ("/",), 0))
        assert read(store, twice) == settled


def test_what_is_counted_apart_is_settled_apart(store: MultiprocessStore) -> None:
    # The cell 4 counts what of 3 was finished.
    apart = SETTLED._replace(width=5, settlement=Settlement(0, (1, 2), 2, (), (3, 4)))
    add(store, apart, ("/",), 1, 0, 0, 1)
    killed(lambda: add(store, apart, ("/",), 6, 2, 1, 4, 1))
    settled = {("/",): [7.0, 2.0, 4.0, 5.0, 4.0]}
    assert read(store, apart) == settled
    for _ in range(3):
        killed(lambda: add(store, apart, ("/",), 0))
        assert read(store, apart) == settled


def test_a_new_worker_waits_for_the_lock_no_longer_than_a_request_may(
    store: MultiprocessStore,
) -> None:
    add(store, REQUESTS, ("/",), 1)
    other = MultiprocessStore(store.directory)
    before = failures.counts().get("store", 0)
    with store._lock.held(0):
        add(other, REQUESTS, ("/new",), 1)
        assert failures.counts()["store"] == before + 1
    assert read(other, REQUESTS) == {("/",): [1.0, 0.0, 0.0], ("/new",): [1.0, 0.0, 0.0]}
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0], ("/new",): [1.0, 0.0, 0.0]}


class Clock:
    """Time that passes where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(store_module, "monotonic", clock.monotonic)
    monkeypatch.setattr(store_module, "sleep", clock.sleep)
    return clock


def test_who_has_the_lock_for_good_is_waited_for_once(
    store: MultiprocessStore, clock: Clock
) -> None:
    add(store, REQUESTS, ("/",), 1)
    waited: list[float] = []
    with MultiprocessStore(store.directory)._lock.held(0):
        for _ in range(3):  # as a scrape does
            before = clock.now
            assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
            waited.append(clock.now - before)
    patience, hurry = store_module.PATIENCE, store_module.HURRY
    assert waited == pytest.approx([patience, hurry, hurry], abs=BETWEEN_TRIES)
    assert not store.turn.waits


def test_what_is_recorded_while_a_scrape_waits_for_the_lock_is_in_the_file(
    store: MultiprocessStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, REQUESTS, ("/",), 1)

    def record_meanwhile(seconds: float) -> None:
        store.turn.update(add, store, REQUESTS, ("/",), 1)
        assert not store.turn.pending
        clock.sleep(store_module.PATIENCE)

    monkeypatch.setattr(store_module, "sleep", record_meanwhile)
    with MultiprocessStore(store.directory)._lock.held(0):
        assert read(store, REQUESTS) == {("/",): [2.0, 0.0, 0.0]}


def test_a_lock_is_given_back_even_if_a_child_has_a_copy_of_it(store: MultiprocessStore) -> None:
    with store._lock.held(0):
        copy = os.dup(store._lock._fd)
    with MultiprocessStore(store.directory)._lock.held(0):
        pass
    os.close(copy)


def test_a_lock_that_a_killed_process_held_is_free(store: MultiprocessStore) -> None:
    def die() -> None:
        with store._lock.held(0):
            os.kill(os.getpid(), signal.SIGKILL)

    assert run(die) == -signal.SIGKILL
    with store._lock.held(0):
        pass
