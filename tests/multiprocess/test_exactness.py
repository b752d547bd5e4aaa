"""Users' metrics in the store: exact under threads, forks, signals, kills; harmless in failure."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    values,
)

from multiprocess.workers import Process, no_descriptors, value
from prom_middleware import failures
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import end, fork, killed, run


@pytest.mark.once  # tests/multiprocess_servers has the same of requests, with every version
@pytest.mark.no_cover  # traced, threads take ten times as long
def test_threads_in_four_processes_count_exactly(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", registry=registry)
    gauge = Gauge("g", "G.", ["kind"], registry=registry, multiprocess_mode="sum")

    def count() -> None:
        mine = gauge.labels("a")
        for number in range(25_000):
            counter.inc()
            if not number % 10:
                mine.inc()

    def worker() -> None:
        threads = [threading.Thread(target=count) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    children = [fork(worker) for _ in range(4)]
    assert [end(child) for child in children] == [0] * 4
    assert value(registry, "jobs_total") == 800_000
    assert value(registry, "g", kind="a") == 80_000


def test_children_forked_while_threads_count_begin_at_zero(tmp_path: Path) -> None:
    # A program of its own: what measures coverage has a lock that a child would wait for.
    script = """
import os, sys, threading
from prometheus_client import REGISTRY, Counter
from prom_middleware.multiprocess import install
from prom_middleware.stores.multiprocess import MultiprocessStore
install(MultiprocessStore(sys.argv[1]))
counter = Counter("jobs", "Jobs done.")
stop, counted = threading.Event(), []

def count():
    number = 0
    while not stop.is_set():
        counter.inc()
        number += 1
    counted.append(number)

threads = [threading.Thread(target=count) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(10):
    pid = os.fork()
    if not pid:
        counter.inc(5)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
assert REGISTRY.get_sample_value("jobs_total") == sum(counted) + 50
"""
    command = [sys.executable, "-c", script, str(tmp_path / "metrics")]
    subprocess.run(command, check=True, timeout=60)


def test_signal_handlers_and_finalizers_count_exactly(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", ["kind"], registry=registry)
    main, signalled, gone = (counter.labels(kind) for kind in ("main", "signal", "del"))
    seen = []

    class Counted:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            gone.inc()

    def handler(*_: object) -> None:
        seen.append(1)
        signalled.inc()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)  # longer than a busy machine takes
    try:
        for _ in range(20_000):
            Counted()
            main.inc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    gc.collect()
    assert seen
    assert value(registry, "jobs_total", kind="main") == 20_000
    assert value(registry, "jobs_total", kind="signal") == len(seen)
    assert value(registry, "jobs_total", kind="del") == 20_000


def test_a_killed_worker_s_count_stays_and_another_continues_it(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", registry=registry)
    for number in range(1, 20):
        killed(counter.inc)
        assert value(registry, "jobs_total") == number
    assert len([each for each in installed.snapshot().workers if not each.live]) == 1


def test_counting_goes_on_when_the_directory_is_deleted(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", ["kind"], registry=registry)
    gauge = Gauge("g", "G.", ["kind"], registry=registry, multiprocess_mode="sum")
    counter.labels("a").inc(2)
    gauge.labels("a").set(7)
    for path in Path(installed.directory).iterdir():
        path.unlink()
    Path(installed.directory).rmdir()
    assert value(registry, "jobs_total", kind="a") == 2
    counter.labels("a").inc()
    gauge.labels("a").inc()
    counter.labels("b").inc()
    assert value(registry, "jobs_total", kind="a") == 3
    assert value(registry, "jobs_total", kind="b") == 1
    assert value(registry, "g", kind="a") == 8
    killed(counter.labels("a").inc)
    assert value(registry, "jobs_total", kind="a") == 4


def test_a_value_that_has_no_metric_of_ours_counts_for_this_process(
    installed: MultiprocessStore,
) -> None:
    own = values.ValueClass("counter", "x", "x_total", ("a",), ("b",), "X.")
    own.inc(2)
    own.set(7)
    own.inc(0.5)
    assert own.get() == 7.5


def test_what_cannot_be_collected_is_not_shown_as_less_than_it_is(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", registry=registry)
    other = Process(lambda: counter)
    other.call("inc", 5)

    def child() -> None:
        counter.inc(2)
        assert value(registry, "jobs_total") == 7
        reported = failures.counts().get("multiprocess.collect", 0)
        with no_descriptors():
            assert value(registry, "jobs_total") is None
        assert failures.counts()["multiprocess.collect"] > reported
        assert value(registry, "jobs_total") == 7

    try:
        assert run(child) == 0
    finally:
        other.kill()


def test_a_store_that_fails_breaks_no_request(
    installed: MultiprocessStore, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter("jobs", "Jobs done.", ["kind"], registry=registry)
    gauge = Gauge("g", "G.", ["kind"], registry=registry, multiprocess_mode="sum")
    reported = failures.counts().get("record", 0)

    def broken(*_: object) -> int:
        raise OSError("no block")

    with monkeypatch.context() as patch:
        patch.setattr(MultiprocessStore, "allocate", broken)
        counter.labels("a").inc(2)
        gauge.labels("a").inc()
        Histogram("t", "T.", registry=registry).observe(1)
    assert failures.counts()["record"] > reported
    counter.labels("a").inc(3)
    assert value(registry, "jobs_total", kind="a") == 3


def test_an_amount_that_is_no_number_is_an_error_as_before(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", registry=registry)
    with pytest.raises(TypeError):
        counter.inc("1")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Gauge("g", "G.", registry=registry).inc(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="non-negative"):
        counter.inc(-1)
    counter.inc()
    assert value(registry, "jobs_total") == 1


def test_a_registry_made_anew_goes_on_where_the_one_before_has_ended(
    installed: MultiprocessStore,
) -> None:
    def count() -> float | None:
        gc.collect()  # the one before
        registry = CollectorRegistry()
        Counter("jobs", "Jobs done.", registry=registry).inc()
        return value(registry, "jobs_total")

    assert [count() for _ in range(3)] == [1, 2, 3]


def test_metrics_made_and_dropped_leave_nothing_behind(
    installed: MultiprocessStore,
) -> None:
    from prom_middleware.multiprocess import patches

    assert patches._installed is not None
    home = patches._installed.home
    gc.collect()
    before = len(home.values())
    for _ in range(5):
        Histogram("t", "T.", ["kind"], registry=CollectorRegistry()).labels("a").observe(1)
    gc.collect()
    assert len(home.values()) == before
