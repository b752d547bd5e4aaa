"""Gauges in all ten modes: the same as what `prometheus_client` merges of its own files."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from multiprocess.workers import Process, Samples, samples, value
from multiprocess_servers.namespaces import contained
from prom_middleware import failures
from prom_middleware.multiprocess import install, whole
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import end, fork, killed

MODES = sorted(Gauge._MULTIPROC_MODES)
RECENT = ("mostrecent", "livemostrecent")
KINDS = ("a", "b")


class Metrics:
    """What a worker has, in whichever place."""

    def __init__(self) -> None:
        self.counter = Counter("counter", "C.", ["kind"])
        self.histogram = Histogram("histogram", "H.", ["kind"], buckets=(1, 2, 3))
        self.summary = Summary("summary", "S.")
        self.gauges = {
            mode: Gauge(f"g_{mode}", "G.", ["kind"], multiprocess_mode=mode) for mode in MODES
        }
        self.plain = {mode: Gauge(f"p_{mode}", "P.", multiprocess_mode=mode) for mode in MODES}
        self.summary.observe(0)

    def do(self, what: str, kind: str, amount: float, mode: str) -> None:
        """Do one of the things that a worker may do."""
        if what == "count":
            self.counter.labels(kind).inc(amount)
        elif what == "observe":
            self.histogram.labels(kind).observe(amount)
            self.summary.observe(amount)
        elif what == "add" and mode not in RECENT:
            self.gauges[mode].labels(kind).inc(amount - 3)
            self.plain[mode].dec(amount)
        elif what == "set":
            self.gauges[mode].labels(kind).set(amount - 3)
            self.plain[mode].set(amount)


def theirs(directory: Path) -> Callable[[], Metrics]:
    def make() -> Metrics:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
        values.ValueClass = values.MultiProcessValue()
        return Metrics()

    return make


def ours(directory: Path) -> Callable[[], Metrics]:
    def make() -> Metrics:
        install(MultiprocessStore(directory))
        return Metrics()

    return make


class Scraper:
    """A process that has none of the metrics."""

    def __init__(self, directory: Path) -> None:
        self.store = MultiprocessStore(directory)
        install(self.store)

    def samples(self) -> tuple[Samples, list[int], dict[str, float]]:
        """Return all samples, the pids of those that have or had a slot, and what went wrong."""
        before, found = failures.counts(), samples(REGISTRY)
        wrong = {cause: n for cause, n in failures.counts().items() if n != before.get(cause, 0)}
        return found, [worker.pid for worker in self.store.snapshot().workers], wrong


def normal(found: Samples, numbers: dict[int, int], keep: set[int]) -> Samples:
    """Replace pids by the numbers of the workers; rounding may differ with the order."""
    result: Samples = {}
    for (name, labels), number in found.items():
        named = dict(labels)
        pid = named.pop("pid", None)
        if pid is not None:
            if numbers[int(pid)] not in keep:
                continue
            named["pid"] = str(numbers[int(pid)])
        result[name, tuple(sorted(named.items()))] = round(number, 9)
    return result


def metrics_only(found: Samples) -> Samples:
    prefixes = ("counter", "histogram", "summary", "g_", "p_")
    return {key: number for key, number in found.items() if key[0].startswith(prefixes)}


class Mixed(Scraper):
    """A scraper that also shows what those wrote that did not call `install()`."""

    def __init__(self, directory: Path) -> None:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
        super().__init__(directory)

    def make(self) -> None:
        """Have gauges, and set none."""
        self.made = [Gauge(f"p_{mode}", "P.", multiprocess_mode=mode) for mode in MODES]

    def shown(self, *names: str) -> Samples:
        """Return what our page has."""
        return samples(whole(REGISTRY.restricted_registry(names) if names else REGISTRY))


def history(chance: random.Random, length: int) -> list[tuple[Any, ...]]:
    """Return what happens: (worker, None) is its death, and what it does otherwise."""
    alive, made, happens = [0], 1, []
    happens.append((0, "start"))
    for _ in range(length):
        roll = chance.random()
        if not alive or (roll < 0.06 and len(alive) < 4):
            alive.append(made)
            happens.append((made, "start"))
            made += 1
        elif roll < 0.10:
            happens.append((alive.pop(chance.randrange(len(alive))), "kill"))
        else:
            what = chance.choice(("count", "observe", "add", "set", "set", "add"))
            amount = chance.randrange(1, 50) / 8
            mode = chance.choice(MODES)
            happens.append((chance.choice(alive), what, chance.choice(KINDS), amount, mode))
    return happens


@pytest.mark.forks
@pytest.mark.parametrize(
    "seeds", [range(1), pytest.param(range(1, 8), marks=pytest.mark.once)], ids=["one", "more"]
)
def test_any_history_ends_as_with_their_own_files(seeds: range, tmp_path: Path) -> None:
    for seed in seeds:
        print("seed", seed)
        live_through(history(random.Random(seed), 150), tmp_path / str(seed))


def live_through(events: list[tuple[Any, ...]], base: Path) -> None:
    """Have workers with their files, and with ours, do the same."""
    their_path, our_path = base / "theirs", base / "ours"
    their_path.mkdir(parents=True)
    scraper = Process(lambda: Scraper(our_path))
    pairs: dict[int, tuple[Process, Process]] = {}
    their_numbers: dict[int, int] = {}
    our_numbers: dict[int, int] = {}
    alive: set[int] = set()

    def compare() -> None:
        merged = samples(MultiProcessCollector(None, str(their_path)))
        found, pids, wrong = scraper.call("samples")
        assert not wrong
        keep = {our_numbers[pid] for pid in pids if pid in our_numbers}
        assert alive <= keep
        assert merged
        assert normal(metrics_only(found), our_numbers, keep) == normal(merged, their_numbers, keep)

    try:
        for step, (worker, what, *arguments) in enumerate(events):
            if what == "start":
                pairs[worker] = Process(theirs(their_path)), Process(ours(our_path))
                their_numbers[pairs[worker][0].pid] = worker
                our_numbers[pairs[worker][1].pid] = worker
                alive.add(worker)
                for process in pairs[worker]:  # until it has written, no other worker knows of it
                    process.call("do", "count", "a", 1, "sum")
            elif what == "kill":
                alive.remove(worker)
                for process in pairs[worker]:
                    process.kill()
                mark_process_dead(pairs[worker][0].pid, str(their_path))
            else:
                for process in pairs[worker]:
                    process.call("do", what, *arguments)
            if step % 10 == 0:
                compare()
        compare()
    finally:  # who runs this test alone waits for all that have its output
        for process in (scraper, *(process for worker in alive for process in pairs[worker])):
            process.kill()


def test_who_has_called_install_and_who_has_not_are_together_as_if_all_had_not(
    tmp_path: Path,
) -> None:
    alone, both = tmp_path / "alone", tmp_path / "both"
    alone.mkdir()
    both.mkdir()
    numbers: tuple[dict[int, int], dict[int, int]] = {}, {}
    workers = []
    for number, amount in enumerate((4, 2, 8)):
        pair = Process(theirs(alone)), Process((ours if number == 1 else theirs)(both))
        for process, known in zip(pair, numbers, strict=True):
            known[process.pid] = number
            process.call("do", "count", "a", amount, "sum")
            for mode in MODES:
                process.call("do", "set", "ab"[number % 2], amount, mode)
        workers += pair
    scraper = Process(lambda: Mixed(both))
    merged = samples(MultiProcessCollector(None, str(alone)))
    everybody = {0, 1, 2}
    expected = normal(merged, numbers[0], everybody)
    assert normal(metrics_only(scraper.call("shown")), numbers[1], everybody) == expected
    scraper.call("make")
    numbers[1][scraper.pid] = 3
    assert normal(metrics_only(scraper.call("shown")), numbers[1], everybody) == expected
    assert scraper.call("shown", "p_mostrecent") == {("p_mostrecent", ()): 8}
    for process in (*workers, scraper):
        process.kill()


@pytest.mark.parametrize("inherited", [False, True])
def test_a_worker_that_has_only_counted_has_all_its_gauges_at_zero(
    inherited: bool, installed: MultiprocessStore
) -> None:
    class Counting:
        def __init__(self) -> None:
            self.made = gauges if inherited else make()
            self.counter = counter if inherited else Counter("counter", "C.")

        def count(self) -> None:
            self.counter.inc()

    def make() -> list[Gauge]:
        return [Gauge(f"p_{mode}", "P.", multiprocess_mode=mode) for mode in ("min", "livemax")]

    # The same as `Counting` has in its own process, or they are there when it is forked.
    there = None if inherited else Process(Counting)
    gauges, counter = make(), Counter("counter", "C.")
    there = there or Process(Counting)
    gauges[0].set(5)
    gauges[1].set(-5)
    found = [samples(REGISTRY, "p_min", "p_livemax")]
    there.call("count")
    found.append(samples(REGISTRY, "p_min", "p_livemax"))
    there.kill()
    found.append(samples(REGISTRY, "p_min", "p_livemax"))
    assert found == [
        {("p_min", ()): 5, ("p_livemax", ()): -5},
        {("p_min", ()): 0, ("p_livemax", ()): 0},
        {("p_min", ()): 0, ("p_livemax", ()): -5},
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_dead_worker_s_value(
    mode: str, installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    gauge = Gauge("g", "G.", registry=registry, multiprocess_mode=mode)
    killed(lambda: gauge.set(8))
    shown = samples(registry)
    assert len(shown) <= 1, shown
    (found,) = shown.values() or [None]
    # Where nobody has the gauge, it is zero here, as it would be without other processes.
    assert found == (None if mode == "livemostrecent" else 0 if mode.startswith("live") else 8)


def test_a_zero_that_nobody_has_set_is_not_shown_beside_what_another_version_has(
    installed: MultiprocessStore,
) -> None:
    def make(text: str, value: float) -> None:
        for mode in ("all", "livemin"):
            Gauge(f"g_{mode}", text, multiprocess_mode=mode).set(value)

    killed(lambda: make("Another help.", 7))
    make("G.", 5)  # in the other one's place
    own = (("pid", str(os.getpid())),)
    assert samples(REGISTRY, "g_all", "g_livemin") == {("g_all", own): 5, ("g_livemin", ()): 5}


HOLDER = """
import sys
from prometheus_client import Gauge
from prom_middleware.multiprocess import install
from prom_middleware.stores.multiprocess import MultiprocessStore
install(MultiprocessStore(sys.argv[1]))
Gauge("g", "G.").set(float(sys.argv[2]))
print(flush=True)
sys.stdin.read()
"""


def holding(installed: MultiprocessStore, number: int) -> subprocess.Popen[bytes]:
    """Return pid 1 of a container, once it has set the gauge."""
    command = contained([sys.executable, "-c", HOLDER, installed.directory, str(number)])
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_one_series_of_a_pid_whoever_has_it(installed: MultiprocessStore) -> None:
    def shown() -> float | None:
        assert len(samples(REGISTRY, "g")) == 1
        return value(REGISTRY, "g", pid="1")

    with holding(installed, 1) as older:
        with holding(installed, 2) as younger:
            assert shown() == 2
            younger.communicate()
            assert shown() == 1
        older.communicate()
    # Of the dead, the one that came last.
    assert shown() == 2


def test_a_gauge_that_nobody_has_set_is_zero(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    Gauge("s", "S.", registry=registry, multiprocess_mode="sum")
    Gauge("a", "A.", registry=registry)
    Gauge("r", "R.", registry=registry, multiprocess_mode="mostrecent")
    assert samples(registry) == {("s", ()): 0, ("a", (("pid", str(os.getpid())),)): 0}


def test_in_progress_is_down_again_when_a_worker_is_killed(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    gauge = Gauge("g", "G.", ["kind"], registry=registry, multiprocess_mode="livesum")

    def die() -> None:
        with gauge.labels("a").track_inprogress():
            os.kill(os.getpid(), signal.SIGKILL)

    gauge.labels("a").inc()
    assert end(fork(die)) == -signal.SIGKILL
    assert value(registry, "g", kind="a") == 1


def test_a_function_s_value_is_shown_by_its_process_and_then_by_others(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    class Worker:
        def __init__(self) -> None:
            gauge.set_function(lambda: 5)

        def scrape(self) -> Samples:
            return samples(registry)

    gauge = Gauge("g", "G.", registry=registry, multiprocess_mode="livesum")
    worker = Process(Worker)
    assert [worker.call("scrape") for _ in range(2)] == [{("g", ()): 5}] * 2
    gauge.set(2)
    assert samples(registry) == {("g", ()): 7}
    worker.kill()
    assert samples(registry) == {("g", ()): 2}


def test_a_process_with_a_function_shows_what_another_one_s_place_had_before(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    class Worker:
        def set(self, number: float) -> None:
            gauge.set(number)

        def scrape(self) -> Samples:
            return samples(registry)

    gauge = Gauge("g", "G.", registry=registry, multiprocess_mode="sum")
    gauge.set_function(lambda: 1)
    first = Process(Worker)
    first.call("set", 5)
    first.kill()
    second = Process(Worker)  # takes the first one's place
    second.call("set", 2)
    assert samples(registry) == {("g", ()): 8}
    second.kill()


def test_a_function_that_raises_is_left_out(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    gauge = Gauge("g", "G.", registry=registry, multiprocess_mode="sum")
    Counter("jobs", "Jobs done.", registry=registry).inc()
    gauge.set_function(lambda: 1 / 0)
    assert value(registry, "jobs_total") == 1
