"""Whether /proc tells of the process that took a slot, whatever the clock does."""

from __future__ import annotations

import os
from math import floor
from pathlib import Path
from time import time

from prom_middleware import failures
from prom_middleware.runtime.processes import WorkerCollector
from prom_middleware.runtime.procfs import TICKS
from prom_middleware.stores.multiprocess import MultiprocessStore
from prom_middleware.stores.multiprocess.layout import PID
from runtime.proc import boot, run_process
from runtime.workers import CPU, RESTARTS, scraped, scraped_from
from stores.multiprocess.children import REQUESTS, add


def test_a_process_that_began_long_after_it_took_its_slot_is_another(tmp_path: Path) -> None:
    store = MultiprocessStore(tmp_path / "metrics")
    add(store, REQUESTS, ("/",), 1)
    store.cells[PID] = 4_200_000
    proc = boot(tmp_path / "proc", btime=time() - 50)
    run_process(proc, 4_200_000, start=100 * TICKS)
    before = failures.counts().get("process", 0)
    assert scraped(WorkerCollector(store, str(proc))) == {RESTARTS: 0}
    assert failures.counts()["process"] == before + 1
    run_process(proc, 4_200_000, start=40 * TICKS, cpu=TICKS)
    assert scraped(WorkerCollector(store, str(proc)))[CPU] == 1


def test_a_process_that_seems_to_begin_a_moment_after_it_took_its_slot_is_the_same(
    tmp_path: Path,
) -> None:
    """The system tells when it was started in whole seconds."""
    store = MultiprocessStore(tmp_path / "metrics")
    add(store, REQUESTS, ("/",), 1)
    store.cells[PID] = 4_200_000
    (worker,) = store.snapshot().workers
    proc = boot(tmp_path / "proc", btime=floor(worker.since) - 50)
    run_process(proc, 4_200_000, start=50 * TICKS + 3 * TICKS // 2, cpu=TICKS)
    before = failures.counts()
    assert scraped(WorkerCollector(store, str(proc)))[CPU] == 1
    assert failures.counts() == before


def test_who_took_a_slot_sooner_after_its_start_than_we_did_is_no_stranger(tmp_path: Path) -> None:
    ours, theirs = (MultiprocessStore(tmp_path / "metrics") for _ in range(2))
    for store in (ours, theirs):
        add(store, REQUESTS, ("/",), 1)
    theirs.cells[PID] = 4_200_000
    proc = boot(tmp_path / "proc", btime=time() - 500)
    run_process(proc, os.getpid(), start=100 * TICKS, cpu=TICKS)
    run_process(proc, 4_200_000, start=400 * TICKS, cpu=2 * TICKS)
    before = failures.counts()
    assert scraped(WorkerCollector(ours, str(proc)))[CPU] == 3
    assert failures.counts() == before


def test_who_has_the_id_of_a_worker_that_is_gone_is_not_looked_at(tmp_path: Path) -> None:
    store = MultiprocessStore(tmp_path / "metrics")
    add(store, REQUESTS, ("/",), 1)
    store.cells[PID] = 4_200_000
    store.close()
    proc = boot(tmp_path / "proc", btime=time() - 50)
    run_process(proc, 4_200_000, start=100 * TICKS)
    before = failures.counts()
    left = MultiprocessStore(tmp_path / "metrics")
    assert scraped(WorkerCollector(left, str(proc))) == {RESTARTS: 0}
    assert failures.counts() == before


def test_a_known_process_stays_known_when_the_clock_is_set(tmp_path: Path) -> None:
    store = MultiprocessStore(tmp_path / "metrics")
    add(store, REQUESTS, ("/",), 1)
    store.cells[PID] = 4_200_000
    proc = boot(tmp_path / "proc", btime=time() - 50)
    run_process(proc, 4_200_000, start=40 * TICKS, cpu=TICKS)
    before = failures.counts()
    for jump in (0, 3600, -3600):
        boot(proc, btime=time() - 50 + jump)
        assert scraped(WorkerCollector(store, str(proc)))[CPU] == 1
    assert failures.counts() == before
    # The same slot and id, another process: its descriptor of the lock went to a stranger.
    run_process(proc, 4_200_000, start=41 * TICKS, cpu=9 * TICKS)
    shown = scraped(WorkerCollector(store, str(proc)))
    assert shown == {CPU: 1, RESTARTS: 0}


def test_a_clock_that_was_set_before_the_first_scrape_makes_nobody_a_stranger(proc: Path) -> None:
    run_process(proc, os.getpid(), cpu=TICKS)
    boot(proc, btime=time() + 3600)
    before = failures.counts()
    assert scraped_from(proc)[CPU] == 1
    assert failures.counts() == before


def test_a_process_whose_second_store_has_a_lower_slot_is_counted_once(
    tmp_path: Path, proc: Path
) -> None:
    other, first = (MultiprocessStore(tmp_path / "metrics") for _ in range(2))
    for store in (other, first):
        add(store, REQUESTS, ("/",), 1)
    other.cells[PID] = 4_200_000
    run_process(proc, os.getpid(), cpu=TICKS)
    assert scraped_from(proc, first)[CPU] == 1
    other.close()
    second = MultiprocessStore(tmp_path / "metrics")
    add(second, REQUESTS, ("/",), 1)
    assert [worker.slot for worker in first.snapshot().workers if worker.live] == [0, 1]
    assert scraped_from(proc, first)[CPU] == 1
