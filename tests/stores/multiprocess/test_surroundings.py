"""Bad surroundings: nothing reaches the caller, what is lost is named and counted."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from prom_middleware.stores import Family
from prom_middleware.stores.multiprocess import MultiprocessStore
from prom_middleware.stores.multiprocess import store as store_module
from prom_middleware.stores.multiprocess.layout import CELL
from stores.multiprocess.children import LIVE, REQUESTS, add, killed, read, reported, run, vectors

pytestmark = pytest.mark.usefixtures("impatient")

WIDE = Family("wide", ("n",), 5000)
DICTIONARY = "prom_middleware-1.dictionary"
VECTOR = "prom_middleware-1.0000.vector"


def test_a_directory_that_is_deleted_is_made_again(
    store: MultiprocessStore, directory: Path
) -> None:
    before = reported()
    shutil.rmtree(directory)
    add(store, REQUESTS, ("/",), 1)
    add(store, REQUESTS, ("/new",), 1)
    assert read(store, REQUESTS) == {("/",): [2.0, 0.0, 0.0], ("/new",): [1.0, 0.0, 0.0]}
    assert read(store, LIVE) == {(): [1.0]}
    other = MultiprocessStore(directory)
    assert read(other, REQUESTS) == read(store, REQUESTS)
    assert reported() > before


JOB = """
import fcntl, multiprocessing, sys
from prom_middleware.stores import Family
from prom_middleware.stores.multiprocess import MultiprocessStore
from prom_middleware.stores.multiprocess import store as module

def work():
    store = MultiprocessStore(sys.argv[1])
    with open(f"{sys.argv[1]}/prom_middleware-1.lock") as file:
        module.HURRY = 0
        fcntl.flock(file, fcntl.LOCK_EX)
        store.cells[store.allocate(Family("requests", ("route",), 3), ("/",))] += 1

def pool():
    context = multiprocessing.get_context("fork")
    job = context.Process(target=work)
    job.start()
    job.join()
"""


@pytest.mark.parametrize("end", ["work()", "work(); sys.exit(3)", "work(); 1/0", "pool()"])
def test_a_job_that_ends_before_it_could_write_does_so_at_its_end(
    store: MultiprocessStore, directory: Path, end: str
) -> None:
    subprocess.run([sys.executable, "-c", JOB + end, directory], stderr=subprocess.PIPE, timeout=60)
    assert read(store, REQUESTS) == {("/",): [2.0, 0.0, 0.0]}


def test_who_keeps_a_map_of_offsets_sees_the_new_ones(
    store: MultiprocessStore, directory: Path
) -> None:
    requests, live = store.offsets(REQUESTS), store.offsets(LIVE)
    renewed: list[str] = []
    store.renewals.append(lambda: renewed.append("offsets are void"))
    add(store, REQUESTS, ("/unused",), 0)
    shutil.rmtree(directory)
    assert not renewed
    store.allocate(LIVE, ("new",))
    assert renewed
    assert ("/unused",) not in requests
    assert store.cells[requests["/",]] == 1
    assert store.cells[live[()]] == 1


def test_a_tally_outlives_its_offset(store: MultiprocessStore, directory: Path) -> None:
    tally = store.tally(LIVE, ())
    add(store, REQUESTS, ("/unused",), 0)
    tally.append(None)
    shutil.rmtree(directory)
    store.allocate(LIVE, ("new",))
    tally.append(None)
    assert read(store, LIVE)[()] == [3.0]
    tally.pop()
    assert read(MultiprocessStore(directory), LIVE)[()] == [2.0]


def test_a_tally_counts_in_the_cells_that_its_own_look_brings(
    store: MultiprocessStore, directory: Path
) -> None:
    tally = store.tally(LIVE, ("idle",))  # with nothing in it, which is not carried over
    shutil.rmtree(directory)
    store.snapshot()
    shutil.rmtree(directory)
    tally.append(None)
    assert read(MultiprocessStore(directory), LIVE)["idle",] == [1.0]


def test_a_scrape_notices_that_the_directory_was_deleted(
    store: MultiprocessStore, directory: Path
) -> None:
    shutil.rmtree(directory)
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
    assert vectors(directory) == [VECTOR]


@pytest.mark.parametrize("what", ["directory", "vector"])
def test_a_worker_that_knows_all_its_labels_looks_after_the_files(
    store: MultiprocessStore, directory: Path, what: str
) -> None:
    if what == "directory":
        shutil.rmtree(directory)
    else:
        (directory / VECTOR).unlink()
    store.look(store.look_at)  # not yet
    assert not vectors(directory)
    store.look(store.look_at + 1)
    add(store, REQUESTS, ("/",), 1)
    assert read(MultiprocessStore(directory), REQUESTS)["/",] == [2.0, 0.0, 0.0]


def test_a_vector_that_is_deleted_is_written_again(
    store: MultiprocessStore, directory: Path
) -> None:
    before = reported()
    (directory / VECTOR).unlink()
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
    add(store, REQUESTS, ("/",), 1)
    assert read(MultiprocessStore(directory), REQUESTS) == {("/",): [2.0, 0.0, 0.0]}
    assert reported() == before + 1


@pytest.mark.parametrize("name", [DICTIONARY, "prom_middleware-1.lock"])
def test_any_other_file_may_be_deleted(
    store: MultiprocessStore, directory: Path, name: str
) -> None:
    (directory / name).unlink()
    add(store, REQUESTS, ("/new",), 1)
    expected = {("/",): [1.0, 0.0, 0.0], ("/new",): [1.0, 0.0, 0.0]}
    assert read(store, REQUESTS) == expected
    assert read(MultiprocessStore(directory), REQUESTS) == expected


def test_no_file_of_others_is_taken_for_ours_that_somebody_has_closed(tmp_path: Path) -> None:
    directory = tmp_path / "metrics"

    def daemon() -> None:
        store = MultiprocessStore(directory)
        add(store, REQUESTS, ("/",), 1)
        os.closerange(3, 1000)
        files = [(tmp_path / str(number)).open("wb+", buffering=0) for number in range(20)]
        for file in files:
            file.write(b"somebody else's")
        add(store, REQUESTS, ("/",), 1)
        store.look(store.look_at + 1)
        add(store, WIDE, ("more than was mapped",), 1)
        add(store, REQUESTS, ("/new",), 1)
        expected = {("/",): [2.0, 0.0, 0.0], ("/new",): [1.0, 0.0, 0.0]}
        assert read(store, REQUESTS) == expected
        store.close()
        for number, file in enumerate(files):
            assert (tmp_path / str(number)).read_bytes() == b"somebody else's"
            file.close()  # raises where we have closed it
        assert read(MultiprocessStore(directory), REQUESTS) == expected

    assert run(daemon) == 0


def test_a_directory_that_cannot_be_made_costs_nothing_but_the_sharing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = MultiprocessStore(tmp_path / "file" / "metrics")
    before = reported()
    for number in range(3):
        add(store, REQUESTS, ("/",), number, 0.5)
    add(store, LIVE, (), 1)
    assert read(store, REQUESTS) == {("/",): [3.0, 1.5, 0.0]}
    assert read(store, LIVE) == {(): [1.0]}
    assert reported() > before
    assert run(lambda: add(store, REQUESTS, ("/",), 5)) == 0
    # Now it can be made: what was recorded meanwhile is carried over, once.
    (tmp_path / "file").unlink()
    for _ in range(2):
        assert read(store, REQUESTS) == {("/",): [3.0, 1.5, 0.0]}
    other = MultiprocessStore(store.directory)
    assert read(other, REQUESTS) == {("/",): [3.0, 1.5, 0.0]}
    add(store, REQUESTS, ("/",), 1)
    assert read(other, REQUESTS) == {("/",): [4.0, 1.5, 0.0]}
    assert isinstance(store.cells, memoryview)


@pytest.mark.parametrize("name", ["loop", "n" * 300, "n/" * 3000], ids=["loop", "name", "path"])
def test_a_path_that_leads_nowhere_costs_nothing_but_the_sharing(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    store = MultiprocessStore(tmp_path / name)
    add(store, REQUESTS, ("/",), 2, 0.5)
    assert read(store, REQUESTS) == {("/",): [2.0, 0.5, 0.0]}


def test_a_child_of_a_worker_without_files_does_not_carry_over_what_is_its_parents(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    store = MultiprocessStore(tmp_path / "file" / "metrics")
    add(store, REQUESTS, ("/",), 3)

    def child() -> None:
        (tmp_path / "file").unlink()
        add(store, REQUESTS, ("/",), 5)
        store.snapshot()

    killed(child)
    assert read(store, REQUESTS) == {("/",): [8.0, 0.0, 0.0]}


def test_a_write_to_memory_carries_over_what_is_there_once_it_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = MultiprocessStore(tmp_path / "file" / "metrics")
    store.turn.update(add, store, REQUESTS, ("/",), 3)
    (tmp_path / "file").unlink()
    store.turn.update(add, store, REQUESTS, ("/",), 1)
    assert read(MultiprocessStore(store.directory), REQUESTS) == {("/",): [4.0, 0.0, 0.0]}
    assert isinstance(store.cells, memoryview)


def test_a_child_of_a_worker_without_files_is_heard_of_when_it_is_killed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = MultiprocessStore(tmp_path / "file" / "metrics")
    add(store, REQUESTS, ("/",), 3)
    (tmp_path / "file").unlink()
    killed(lambda: store.turn.update(add, store, REQUESTS, ("/",), 5))
    other = MultiprocessStore(store.directory)
    assert read(other, REQUESTS) == {("/",): [5.0, 0.0, 0.0]}
    assert read(store, REQUESTS) == {("/",): [8.0, 0.0, 0.0]}


def test_a_write_to_a_block_that_has_moved_meanwhile_hits_no_other(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = MultiprocessStore(tmp_path / "file" / "metrics")
    offset = store.allocate(REQUESTS, ("/",))
    store.cells[offset] += 1
    late = store.cells
    (tmp_path / "file").unlink()
    store.snapshot()
    late[offset] += 1
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
    assert isinstance(store.cells, memoryview)


def test_a_child_whose_directory_is_gone_keeps_what_it_writes(
    store: MultiprocessStore, directory: Path
) -> None:
    store.forked()
    shutil.rmtree(directory)
    # Their offsets are known, so that nothing but the write itself can notice.
    add(store, REQUESTS, ("/",), 5)
    add(store, LIVE, (), 2)
    for reader in (store, MultiprocessStore(directory)):
        assert read(reader, REQUESTS) == {("/",): [5.0, 0.0, 0.0]}
        assert read(reader, LIVE) == {(): [2.0]}


def test_a_worker_that_knows_all_its_labels_tries_again_as_it_writes(
    store: MultiprocessStore, directory: Path
) -> None:
    other = MultiprocessStore(directory)
    gauge = Family("gauge", (), 3, mode="sum")
    offset = other.allocate(gauge, ())
    other.snapshot()
    with store._lock.held(0):
        add(other, REQUESTS, ("/",), 1)
        other.cells[offset] = 5
    cells = other.cells
    cells[offset] = 6
    # Now it has a slot, and who still has the old cells writes to it, too.
    cells[offset] = 7
    cells[offset + 2] = 1
    add(other, REQUESTS, ("/",), 1)
    assert isinstance(other.cells, memoryview)
    assert read(store, REQUESTS) == {("/",): [3.0, 0.0, 0.0]}
    assert read(store, gauge) == {(): [7.0, 0.0, 1.0]}


def test_after_a_failure_a_request_tries_again_only_after_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "PAUSE", 3600.0)
    (tmp_path / "file").write_text("")
    store = MultiprocessStore(tmp_path / "file" / "metrics")
    before = reported()
    for number in range(100):
        add(store, REQUESTS, (str(number),), 1)
    assert reported() == before + 1
    (tmp_path / "file").unlink()
    assert len(read(store, REQUESTS)) == 100
    assert reported() == before + 1
    assert isinstance(store.cells, memoryview)


def test_a_full_disk_ends_no_process(small_disk: Path) -> None:
    def child() -> None:
        store = MultiprocessStore(small_disk)
        before = reported()
        for number in range(20):
            add(store, WIDE, (str(number),), *([1.0] * 5000))
        assert reported() > before
        found = read(store, WIDE)
        assert [sum(block) for block in found.values()] == [5000.0] * 20

    assert run(child) == 0
    # What its memory held is lost with it; the rest is there.
    found = read(MultiprocessStore(small_disk), WIDE)
    assert sum(map(sum, found.values())) >= 5000


def test_what_a_full_disk_refused_is_carried_over(small_disk: Path) -> None:
    filler = small_disk / "filler"
    store = MultiprocessStore(small_disk)
    add(store, REQUESTS, ("/",), 1)
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(1 << 20))
    other = MultiprocessStore(small_disk)
    add(other, REQUESTS, ("/",), 2)
    for number in range(200):
        add(store, REQUESTS, (f"/{number}" * 20,), 1)
    assert sum(block[0] for block in read(store, REQUESTS).values()) == 201
    filler.unlink()
    assert sum(block[0] for block in read(other, REQUESTS).values()) >= 3
    assert sum(block[0] for block in read(store, REQUESTS).values()) == 203
    assert sum(block[0] for block in read(other, REQUESTS).values()) == 203


def test_a_slot_is_taken_over_as_far_as_a_full_disk_allows(small_disk: Path) -> None:
    store = MultiprocessStore(small_disk)
    killed(lambda: add(store, REQUESTS, ("/",), 1))
    for number in range(2):
        store.allocate(WIDE, (str(number),))
    store.allocate(LIVE, ())
    with pytest.raises(OSError, match="No space"):
        (small_disk / "filler").write_bytes(bytes(1 << 20))
    add(store, REQUESTS, ("/",), 1)
    add(store, LIVE, (), 1)
    assert read(MultiprocessStore(small_disk), REQUESTS) == {("/",): [2.0, 0.0, 0.0]}
    assert read(store, LIVE) == {(): [1.0]}


def test_where_there_is_no_room_for_more_a_vector_grows_by_what_it_needs(
    small_disk: Path,
) -> None:
    store = MultiprocessStore(small_disk)
    add(store, WIDE, ("0",), 1)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(1 << 20))
    os.truncate(filler, filler.stat().st_size - 32768)
    before = reported()
    add(store, WIDE, ("1",), 1)
    assert reported() == before
    assert isinstance(store.cells, memoryview)
    assert len(store.cells) < 2 * 8192


def test_a_limit_on_files_leaves_what_a_vector_needs(tmp_path: Path) -> None:
    def child() -> None:
        store = MultiprocessStore(tmp_path)
        add(store, WIDE, ("0",), 1)
        before = reported()
        limit = 2 * 65536 - CELL
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        add(store, WIDE, ("1",), 1)
        assert reported() == before
        assert isinstance(store.cells, memoryview)

    assert run(child) == 0
    assert read(MultiprocessStore(tmp_path), WIDE)["1",][0] == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_whatever_says_that_there_is_no_room_leaves_what_a_vector_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = os.posix_fallocate

    def limited(fd: int, start: int, size: int) -> None:
        if start + size > 100_000:
            raise OSError(number, "no room")
        real(fd, start, size)

    monkeypatch.setattr(os, "posix_fallocate", limited)
    store = MultiprocessStore(tmp_path)
    before = reported()
    for label in "01":
        add(store, WIDE, (label,), 1)
    assert reported() == before
    assert isinstance(store.cells, memoryview)


@pytest.mark.parametrize("answer", [errno.EOPNOTSUPP, None])
def test_where_blocks_cannot_be_reserved_zeros_are_written(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, answer: int | None
) -> None:
    def refuse(*arguments: int) -> None:
        raise OSError(answer, "not supported")

    if answer is None:
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    test_a_full_disk_ends_no_process(small_disk)


def test_a_read_only_directory_is_read(small_disk: Path) -> None:
    killed(lambda: add(MultiprocessStore(small_disk), REQUESTS, ("/",), 1))
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    store = MultiprocessStore(small_disk)
    before = reported()
    add(store, REQUESTS, ("/",), 1)
    add(store, REQUESTS, ("/new",), 1)
    found = read(store, REQUESTS)
    assert found == {("/",): [2.0, 0.0, 0.0], ("/new",): [1.0, 0.0, 0.0]}
    assert reported() > before


def test_a_reader_that_may_not_write_reads_and_fails_in_nothing(small_disk: Path) -> None:
    killed(lambda: add(MultiprocessStore(small_disk), REQUESTS, ("/",), 1))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    before = reported()
    assert read(MultiprocessStore(small_disk), REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
    assert reported() == before


def test_two_applications_in_one_directory_and_process_share_it(tmp_path: Path) -> None:
    one, other = MultiprocessStore(tmp_path), MultiprocessStore(tmp_path)
    for store, scope in ((one, "a"), (other, "b")):
        add(store, REQUESTS._replace(scope=scope), ("/",), 1)
        add(store, REQUESTS, ("/",), 1)
    for store in (one, other):
        assert read(store, REQUESTS) == {("/",): [2.0, 0.0, 0.0]}
        assert read(store, REQUESTS._replace(scope="a")) == {("/",): [1.0, 0.0, 0.0]}
    assert [worker.slot for worker in one.snapshot().workers] == [0, 1]


def test_a_clock_that_jumps_back_changes_no_number(
    store: MultiprocessStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close()
    monkeypatch.setattr(store_module, "time", lambda: -5.0)
    add(store, REQUESTS, ("/",), 1)
    (worker,) = store.snapshot().workers
    assert worker.since == -5.0
    assert read(store, REQUESTS) == {("/",): [2.0, 0.0, 0.0]}


def refuse(*arguments: object, **options: object) -> int:
    raise OSError(errno.EMFILE, "too many open files")


def test_without_a_free_descriptor_there_is_no_snapshot_that_has_less(
    store: MultiprocessStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = MultiprocessStore(store.directory)
    add(other, REQUESTS, ("/",), 1)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="too many"):
        read(store, REQUESTS)
    monkeypatch.undo()
    assert read(store, REQUESTS) == {("/",): [2.0, 0.0, 0.0]}


def test_without_a_free_descriptor_a_worker_records_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open
    store = MultiprocessStore(tmp_path)
    monkeypatch.setattr(os, "open", refuse)
    add(store, REQUESTS, ("/",), 1)
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
    monkeypatch.setattr(os, "open", real)
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
    assert read(MultiprocessStore(tmp_path), REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
