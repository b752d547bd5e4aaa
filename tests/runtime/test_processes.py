"""Process metrics of real workers, read from the real /proc."""

from __future__ import annotations

import os
import random
import resource
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import (
    GC_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Gauge,
    generate_latest,
)
from prometheus_client.process_collector import ProcessCollector

from metrics import collected, names
from prom_middleware import failures
from prom_middleware.runtime.gauges import GAUGES, read_gauge
from prom_middleware.runtime.processes import WorkerCollector, replace
from prom_middleware.runtime.procfs import TICKS, Procfs
from prom_middleware.stores import MemoryStore
from prom_middleware.stores.multiprocess import MultiprocessStore
from runtime.proc import BOOT, end_process, run_process
from runtime.workers import CPU, RESTARTS, Worker, at_work, scraped, scraped_from
from stores.multiprocess.children import REQUESTS, add, run

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")


def of_one(pid: int) -> dict[str, float]:
    """Return what prometheus_client says of one process."""
    registry = CollectorRegistry()
    ProcessCollector(pid=lambda: pid, registry=registry)
    return {name: value for (name, _), value in collected(registry).items()}


def listed(workers: Iterable[Worker], what: str) -> int:
    """Return how many entries the processes have in a directory of /proc.

    Not all is the test's own: what another test has left may start a thread in a forked child.
    """
    return sum(len(os.listdir(f"/proc/{worker.pid}/{what}")) for worker in workers)


@linux
def test_every_worker_shows_the_sums_over_all(tmp_path: Path) -> None:
    with at_work(tmp_path, 3) as workers:
        workers[0]("open", 7, 3)
        workers[1]("open", 2, 1)
        workers[2]("work", 0.2)
        for worker in workers:
            worker("scrape")  # the first one loads what the later ones have
        for worker in workers:
            alone = [of_one(other.pid) for other in workers]
            shown = worker("scrape")
            # Who answers has one more: the directory that it reads, as it is in prometheus_client.
            assert shown["process_open_fds"] == 1 + sum(one["process_open_fds"] for one in alone)
            assert shown["process_max_fds"] == sum(one["process_max_fds"] for one in alone)
            assert shown["process_start_time_seconds"] == pytest.approx(
                min(one["process_start_time_seconds"] for one in alone)
            )
            assert shown["process_threads"] == listed(workers, "task") >= 3 + 4
            for name in ("process_resident_memory_bytes", "process_virtual_memory_bytes"):
                assert shown[name] == pytest.approx(sum(one[name] for one in alone), rel=0.1)
            later = sum(of_one(other.pid)[CPU] for other in workers)
            assert sum(one[CPU] for one in alone) - 1e-6 <= shown[CPU] <= later + 1e-6
            assert shown[RESTARTS] == 0
            assert worker("failures") == failures.counts()


@linux
def test_what_killed_workers_used_stays_and_is_counted_once(tmp_path: Path) -> None:
    dice = random.Random(3)
    before = _used_by_children()
    shown = restarts = 0.0
    with at_work(tmp_path, 3) as workers:
        for _ in range(80):
            worker = dice.choice(workers)
            what = dice.choice(["work", "scrape", "scrape at once", "kill", "kill in a scrape"])
            if what == "work":
                worker("work", dice.random() * 0.05)
                continue
            asked = {"scrape": [worker], "scrape at once": workers}.get(what, [])
            for one in asked:
                one.ask("scrape")
            answers = [one.answer() for one in asked]
            assert all(answer[CPU] >= shown for answer in answers)
            shown = max([shown, *(answer[CPU] for answer in answers)])
            if not asked:
                if what == "kill in a scrape":
                    worker.ask("scrape")
                workers.remove(worker)
                worker.kill()
                restarts += 1
                workers.append(Worker(tmp_path))
            assert all(answer[RESTARTS] == restarts for answer in answers)
        last = [worker("scrape")[CPU] for worker in workers]
        assert shown <= last[0] <= last[1] <= last[2]
        assert [worker("failures") for worker in workers] == [failures.counts()] * 3
    assert restarts > 10
    assert len(list(tmp_path.glob("*.vector"))) == 3
    assert 0 < last[2] <= _used_by_children() - before
    assert scraped(WorkerCollector(MultiprocessStore(tmp_path)))[CPU] >= last[2]


def _used_by_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@linux
def test_nothing_is_lost_of_a_worker_that_was_scraped_by_another(tmp_path: Path) -> None:
    with at_work(tmp_path, 2) as workers:
        workers[0]("work", 0.3)
        shown = workers[1]("scrape")[CPU]
        assert shown >= 0.3 - 1 / TICKS
        workers.pop(0).kill()
        workers.append(Worker(tmp_path))
        assert workers[-1]("scrape")[CPU] >= shown
        workers.pop(0).kill()
        assert workers[-1]("scrape")[CPU] >= shown


@linux
def test_a_process_without_a_slot_shows_the_workers(tmp_path: Path) -> None:
    with at_work(tmp_path, 2) as workers:
        shown = scraped(WorkerCollector(MultiprocessStore(tmp_path)))
        assert shown["process_threads"] == listed(workers, "task")
        assert shown["process_open_fds"] == listed(workers, "fd")


@linux
def test_a_process_with_two_stores_is_one_process(tmp_path: Path) -> None:
    stores = [MultiprocessStore(tmp_path) for _ in range(2)]
    for store in stores:
        add(store, REQUESTS, ("/",), 1)
    alone = os.times()
    shown = scraped(WorkerCollector(stores[1]))
    later = os.times()
    assert shown["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert sum(alone[:2]) - 2 / TICKS <= shown[CPU] <= sum(later[:2]) + 2 / TICKS


@linux
def test_the_names_and_types_are_those_of_prometheus_client() -> None:
    theirs = {(family.name, family.type) for family in PROCESS_COLLECTOR.collect()}
    ours = {(family.name, family.type) for family in WorkerCollector(MemoryStore()).collect()}
    assert ours - theirs == {
        ("process_threads", "gauge"),
        ("prom_middleware_worker_restarts", "counter"),
    }
    assert theirs <= ours
    described = {(family.name, family.type) for family in WorkerCollector(MemoryStore()).describe()}
    assert described == ours


def test_without_proc_there_are_no_process_metrics(tmp_path: Path) -> None:
    before = failures.counts()
    assert scraped_from(tmp_path / "nowhere") == {RESTARTS: 0}
    assert failures.counts() == before


def test_a_proc_that_does_not_have_the_worker_is_no_failure(proc: Path) -> None:
    before = failures.counts()
    assert scraped_from(proc) == {RESTARTS: 0}
    assert failures.counts() == before


def test_a_process_may_have_any_name(proc: Path) -> None:
    run_process(proc, os.getpid(), cpu=300, name="a) S (b c) 1 2", files=5)
    shown = scraped_from(proc)
    assert shown[CPU] == 300 / TICKS
    assert shown["process_open_fds"] == 5


def test_files_without_a_limit_are_infinitely_many(proc: Path) -> None:
    run_process(proc, os.getpid(), most="unlimited")
    assert scraped_from(proc)["process_max_fds"] == float("inf")


def test_a_sum_that_would_lack_a_worker_is_not_shown(proc: Path) -> None:
    run_process(proc, os.getpid(), files=0)
    (proc / str(os.getpid()) / "fd").rmdir()
    before = failures.counts().get("process", 0)
    shown = scraped_from(proc)
    assert "process_open_fds" not in shown
    assert shown["process_max_fds"] == 1024
    assert failures.counts()["process"] == before + 1


def test_who_seems_to_have_no_limits_is_not_taken_for_one_without_files(proc: Path) -> None:
    run_process(proc, os.getpid())
    (proc / str(os.getpid()) / "limits").write_text("")
    before = failures.counts().get("process", 0)
    shown = scraped_from(proc)
    assert "process_max_fds" not in shown
    assert shown["process_open_fds"] == 3
    assert failures.counts()["process"] == before + 1


def test_a_sum_that_nobody_may_know_is_left_out(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> float:
        raise PermissionError

    run_process(proc, os.getpid())
    monkeypatch.setattr(Procfs, "open_files", refuse)
    before = failures.counts()
    shown = scraped_from(proc)
    assert "process_open_fds" not in shown
    assert shown["process_max_fds"] == 1024
    assert failures.counts() == before


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_files_of_who_was_root_are_counted_where_the_system_tells(tmp_path: Path) -> None:
    def child() -> None:
        os.setuid(65534)
        with pytest.raises(PermissionError):
            os.listdir(f"/proc/{worker.pid}/fd")
        tells = os.stat(f"/proc/{worker.pid}/fd").st_size
        with nullcontext() if tells else pytest.raises(PermissionError):
            assert Procfs("/proc").open_files(worker.pid) == number

    with at_work(tmp_path, 1) as (worker,):
        number = len(os.listdir(f"/proc/{worker.pid}/fd"))
        assert run(child) == 0


@pytest.mark.parametrize(
    ("told", "files"), [(7, nullcontext(7)), (0, pytest.raises(PermissionError))]
)
def test_files_that_may_not_be_listed_are_counted_by_what_the_system_tells(
    monkeypatch: pytest.MonkeyPatch, told: int, files: AbstractContextManager[object]
) -> None:
    """Before Linux 6.2 it tells nothing, and that is not 0."""

    def refuse(path: str) -> list[str]:
        raise PermissionError

    def stat(path: str) -> SimpleNamespace:
        return SimpleNamespace(st_size=told)

    system = SimpleNamespace(path=os.path, listdir=refuse, stat=stat)
    monkeypatch.setattr("prom_middleware.runtime.procfs.os", system)
    with files as number:
        assert Procfs("/proc").open_files(1) == number


def test_who_dies_in_the_middle_of_a_scrape_is_no_part_of_a_sum(proc: Path) -> None:
    for pid in (1, 2):
        run_process(proc, pid, files=4)
    looked = Procfs(str(proc))
    processes = [looked.process(1), looked.process(2)]
    end_process(proc, 2)
    before = failures.counts()
    shown = {
        family.name: family.samples[0].value
        for gauge in GAUGES
        for family in read_gauge(gauge, looked, processes)
    }
    assert (shown["process_open_fds"], shown["process_max_fds"]) == (4, 1024)
    assert failures.counts() == before


def test_the_start_time_is_that_of_the_oldest(proc: Path) -> None:
    for pid, seconds in ((1, 30), (2, 10), (3, 20)):
        run_process(proc, pid, start=seconds * TICKS)
    looked = Procfs(str(proc))
    (gauge,) = (gauge for gauge in GAUGES if gauge.name == "process_start_time_seconds")
    (family,) = read_gauge(gauge, looked, [looked.process(pid) for pid in (1, 2, 3)])
    assert family.samples[0].value == BOOT + 10


def test_a_zombie_is_no_worker(proc: Path) -> None:
    run_process(proc, os.getpid(), virtual=0)
    assert scraped_from(proc) == {RESTARTS: 0}


def test_noise_in_proc_is_counted_and_the_rest_is_shown(proc: Path) -> None:
    run_process(proc, os.getpid())
    (proc / str(os.getpid()) / "stat").write_text("noise")
    before = failures.counts().get("process", 0)
    assert scraped_from(proc) == {RESTARTS: 0}
    assert failures.counts()["process"] == before + 1


def test_a_store_that_cannot_be_read_breaks_no_scrape() -> None:
    class Broken(MemoryStore):
        def snapshot(self) -> object:
            raise OSError("no disk")

    before = failures.counts().get("process", 0)
    assert WorkerCollector(Broken()).collect() == []
    assert failures.counts()["process"] == before + 1


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=True)
    registry.register(PROCESS_COLLECTOR)
    return registry


@linux
def test_ours_takes_the_place_of_theirs(registry: CollectorRegistry) -> None:
    theirs = names(registry)
    for _ in range(2):
        replace(registry, MemoryStore())
        assert names(registry) == sorted(
            [*theirs, "process_threads", "prom_middleware_worker_restarts"]
        )
    generate_latest(registry)
    assert len(names(registry.restricted_registry([CPU]))) == 1


def test_the_counts_of_one_worker_s_garbage_collector_go(registry: CollectorRegistry) -> None:
    registry.register(GC_COLLECTOR)
    replace(registry, MemoryStore())
    assert not [name for name in names(registry) if name.startswith("python_gc")]


def test_a_registry_without_process_metrics_gets_none() -> None:
    registry = CollectorRegistry()
    registry.register(GC_COLLECTOR)
    theirs = names(registry)
    replace(registry, MemoryStore())
    assert names(registry) == theirs


def test_a_name_that_somebody_else_has_leaves_theirs_in_place(registry: CollectorRegistry) -> None:
    registry.register(GC_COLLECTOR)
    Gauge("process_threads", "The user's own.", registry=registry)
    before, theirs = failures.counts().get("process", 0), names(registry)
    replace(registry, MemoryStore())
    assert names(registry) == theirs
    assert failures.counts()["process"] == before + 1


def test_slots_that_changed_hands_are_restarts(tmp_path: Path) -> None:
    for number in range(4):
        store = MultiprocessStore(tmp_path)
        add(store, REQUESTS, ("/",), 1)
        assert scraped(WorkerCollector(store))[RESTARTS] == number
        store.close()
    assert scraped(WorkerCollector(MultiprocessStore(tmp_path)))[RESTARTS] == 3


def test_a_look_at_a_process_that_is_gone_finds_nothing() -> None:
    assert Procfs("/proc").process(4_200_000) is None


def test_a_look_at_a_process_that_goes_meanwhile_finds_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Linux says so where it is gone between the opening and the reading."""

    def gone(*_: object) -> list[bytes]:
        raise ProcessLookupError

    monkeypatch.setattr("prom_middleware.runtime.procfs.stat_fields", gone)
    assert Procfs("/proc").process(os.getpid()) is None
