"""Series that one worker removes are gone from every worker's scrape, and begin again at zero."""

from __future__ import annotations

import math
import os
import random
import signal
import threading
from functools import partial
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Summary,
)

from multiprocess.workers import Process, Samples, samples, value
from prom_middleware import failures
from prom_middleware.multiprocess import announcing, install, uninstall
from prom_middleware.multiprocess.removals import Removals
from prom_middleware.stores import MemoryStore
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import fork, killed
from waiting import becomes


class Worker:
    """A worker with children of its metrics in hand, made before anything was removed."""

    def __init__(self, registry: CollectorRegistry, metrics: dict[str, Any]) -> None:
        self.registry, self.metrics = registry, metrics

    def call(self, metric: str, labels: tuple[str, ...], method: str, *arguments: Any) -> None:
        """Call a method of a child, or of the metric itself."""
        there = self.metrics[metric]
        getattr(there.labels(*labels) if labels else there, method)(*arguments)

    def samples(self) -> Samples:
        """Scrape."""
        return samples(self.registry)


METRICS: dict[str, tuple[type[Any], dict[str, Any], tuple[Any, ...]]] = {
    "counter": (Counter, {}, ("inc", 2)),
    "summary": (Summary, {}, ("observe", 2)),
    "histogram": (Histogram, {"buckets": (1, 2, 3)}, ("observe", 2)),
    "all": (Gauge, {}, ("set", 2)),
    "sum": (Gauge, {"multiprocess_mode": "sum"}, ("inc", 2)),
    "livesum": (Gauge, {"multiprocess_mode": "livesum"}, ("inc", 2)),
    "max": (Gauge, {"multiprocess_mode": "max"}, ("inc", 2)),
    "mostrecent": (Gauge, {"multiprocess_mode": "mostrecent"}, ("set", 2)),
    "enum": (Enum, {"states": ["off", "on"]}, ("state", "on")),
    "info": (Info, {}, ("info", {"version": "2"})),
}


@pytest.fixture
def pair(installed: MultiprocessStore, registry: CollectorRegistry) -> Any:
    metrics = {
        name: make(name, "M.", ["kind"], registry=registry, **options)
        for name, (make, options, _) in METRICS.items()
    }
    here = Worker(registry, metrics)
    there = Process(lambda: Worker(registry, metrics))
    yield here, there
    there.kill()


@pytest.mark.parametrize("name", METRICS)
def test_what_is_removed_here_is_gone_there_and_begins_anew(name: str, pair: Any) -> None:
    here, there = pair
    update = METRICS[name][2]
    fresh = CollectorRegistry()
    here.call(name, ("kept",), *update)
    before = here.samples()
    here.call(name, ("a",), *update)
    there.call("call", name, ("a",), *update)
    assert here.samples() != before
    here.call(name, (), "remove", "a")
    assert here.samples() == before
    assert there.call("samples") == before
    here.call(name, (), "remove", "a")
    assert there.call("samples") == before

    there.call("call", name, ("a",), *update)
    alone = METRICS[name][0](name, "M.", ["kind"], registry=fresh, **METRICS[name][1])
    getattr(alone.labels("a"), update[0])(*update[1:])
    expected = {
        (sample, tuple((k, str(there.pid) if k == "pid" else v) for k, v in labels)): number
        for (sample, labels), number in samples(fresh).items()
    }
    assert here.samples() == before | expected
    assert there.call("samples") == before | expected


@pytest.mark.parametrize("name", METRICS)
def test_clear_removes_what_other_workers_made(name: str, pair: Any) -> None:
    here, there = pair
    update = METRICS[name][2]
    there.call("call", name, ("a",), *update)
    there.call("call", name, ("b",), *update)
    assert here.samples()
    here.call(name, (), "clear")
    assert here.samples() == there.call("samples") == {}
    there.call("call", name, ("a",), *update)
    assert {dict(labels)["kind"] for _, labels in here.samples()} == {"a"}


@pytest.mark.parametrize("who", ["removed it", "heard of it"])
def test_a_counter_that_is_reset_after_it_was_removed_is_zero(who: str, pair: Any) -> None:
    here, there = pair
    here.call("counter", ("a",), "inc", 5)
    there.call("call", "counter", ("a",), "inc", 5)
    here.call("counter", (), "remove", "a")
    resets = here.call if who == "removed it" else partial(there.call, "call")
    resets("counter", ("a",), "inc", 2)
    resets("counter", ("a",), "reset")
    assert here.samples().get(("counter_total", (("kind", "a"),)), 0) == 0
    resets("counter", ("a",), "inc", 3)
    assert here.samples()["counter_total", (("kind", "a"),)] == 3


@pytest.mark.parametrize("number", [math.inf, math.nan])
@pytest.mark.parametrize(("before", "shown"), [(False, "itself"), (True, "nan")])
def test_a_sum_that_is_no_number_is_not_shown_as_zero(
    before: bool, shown: str, number: float, pair: Any
) -> None:
    here, _ = pair
    here.call("summary", ("a",), "observe", number if before else 1)
    here.call("summary", (), "remove", "a")
    assert ("summary_sum", (("kind", "a"),)) not in here.samples()
    here.call("summary", ("a",), "observe", 1 if before else number)
    found = here.samples()["summary_sum", (("kind", "a"),)]
    assert found == number or math.isnan(found)
    assert math.isnan(found) == (shown == "nan" or math.isnan(number))
    assert here.samples()["summary_count", (("kind", "a"),)] == 1


def test_a_child_that_was_removed_counts_for_nothing(pair: Any) -> None:
    here, there = pair
    child = here.metrics["counter"].labels("a")
    gauge = here.metrics["sum"].labels("a")
    here.call("counter", (), "remove", "a")
    here.call("sum", (), "remove", "a")
    child.inc(exemplar={"trace": "1"})
    gauge.inc()
    assert here.samples() == there.call("samples") == {}
    assert child._value.get() == 0


def test_a_series_that_begins_anew_is_shown_before_it_is_counted(pair: Any) -> None:
    here, there = pair
    here.call("counter", ("a",), "inc", 2)
    there.call("call", "counter", (), "remove", "a")
    assert here.samples() == {}
    there.call("call", "counter", ("a",), "inc", 0)
    assert here.samples() == {("counter_total", (("kind", "a"),)): 0}


def test_a_series_that_begins_anew_says_since_when(pair: Any) -> None:
    here, _ = pair
    here.call("counter", ("a",), "inc", 2)
    for _ in range(3):
        removed = time()
        here.call("counter", (), "remove", "a")
        here.call("counter", ("a",), "inc", 2)
    (family,) = here.metrics["counter"].collect()
    created = [each.value for each in family.samples if each.name == "counter_created"]
    assert created == [pytest.approx(removed, abs=5)]
    assert created[0] >= removed - 0.001


def test_what_was_set_while_nobody_looked_is_exact(pair: Any) -> None:
    here, there = pair
    here.call("sum", ("a",), "inc", 5)
    there.call("call", "sum", ("a",), "inc", 3)
    here.call("sum", (), "remove", "a")
    there.call("call", "sum", ("a",), "inc", 1)
    there.call("call", "sum", ("a",), "dec", 3)
    assert value(here.registry, "sum", kind="a") == -2


def test_removing_survives_the_worker_that_removed(pair: Any) -> None:
    here, there = pair
    here.call("counter", ("a",), "inc", 2)
    here.call("sum", ("a",), "inc", 2)
    killed(lambda: (here.call("counter", (), "clear"), here.call("sum", (), "clear")))
    assert there.call("samples") == {}
    killed(lambda: here.metrics["counter"].labels("a").inc(3))
    killed(lambda: here.metrics["sum"].labels("a").inc(3))
    assert value(here.registry, "counter_total", kind="a") == 3
    assert value(here.registry, "sum", kind="a") == 3


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_counting_and_removing_is_exact(seed: int, pair: Any) -> None:
    chance = random.Random(seed)
    model: dict[tuple[str, str], float] = {}
    for _ in range(150):
        name, kind = chance.choice(("counter", "sum")), chance.choice("ab")
        call = chance.choice((pair[0].call, lambda *each: pair[1].call("call", *each)))
        if chance.random() < 0.2:
            call(name, (), "remove", kind)
            model.pop((name, kind), None)
        else:
            amount = chance.randrange(1, 9)
            call(name, (kind,), "inc", amount)
            model[name, kind] = model.get((name, kind), 0) + amount
    expected = {
        ({"counter": "counter_total"}.get(name, name), (("kind", kind),)): amount
        for (name, kind), amount in model.items()
    }
    assert pair[0].samples() == pair[1].call("samples") == expected


@pytest.mark.skipif(
    not hasattr(Counter, "remove_by_labels"), reason="this prometheus_client cannot do it"
)
def test_remove_by_labels_removes_what_other_workers_made(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", ["kind", "place"], registry=registry)
    counter.labels("a", "1").inc()
    killed(lambda: (counter.labels("a", "2").inc(), counter.labels("b", "2").inc()))
    counter.remove_by_labels({"kind": "a"})
    assert samples(registry) == {("jobs_total", (("kind", "b"), ("place", "2"))): 1}
    counter.remove_by_labels({})
    assert len(samples(registry)) == 1


HOW: dict[str, tuple[Any, ...]] = {
    "remove": ("a", "z"),
    "clear": (),
    "remove_by_labels": ({"place": "z"},),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", METRICS)
def test_what_was_made_with_labels_in_another_order_is_removed(
    how: str, kind: str, installed: MultiprocessStore
) -> None:
    make, options, (method, argument) = METRICS[kind]
    if not hasattr(make, how):
        pytest.skip("this prometheus_client cannot do it")

    def write(names: list[str]) -> Any:
        metric = make("metric", "M.", names, **options)
        getattr(metric.labels(kind="a", place="z"), method)(argument)
        return metric

    killed(lambda: write(["place", "kind"]))
    metric = write(["kind", "place"])
    assert samples(REGISTRY, "metric") != {}
    getattr(metric, how)(*HOW[how])
    assert samples(REGISTRY, "metric") == {}
    getattr(metric.labels("a", "z"), method)(argument)
    assert samples(REGISTRY, "metric") != {}


def test_what_cannot_be_meant_is_an_error_as_before(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    plain = Counter("plain", "P.", registry=registry)
    counter = Counter("jobs", "Jobs done.", ["kind"], registry=registry)
    with pytest.raises(ValueError, match="No label names were set"):
        plain.remove("a")
    with pytest.raises(ValueError, match="Incorrect label count"):
        counter.remove("a", "b")
    plain.clear()
    counter.remove("never there")
    if hasattr(counter, "remove_by_labels"):
        with pytest.raises(ValueError, match="Unknown label names"):
            counter.remove_by_labels({"place": "a"})
        with pytest.raises(TypeError, match="must be a dict"):
            counter.remove_by_labels(["kind"])
        with pytest.raises(ValueError, match="No label names were set"):
            plain.remove_by_labels({"kind": "a"})


def test_a_lock_that_is_not_given_back_is_counted_and_nothing_raises(
    installed: MultiprocessStore, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(announcing, "PATIENCE", 0.01)
    counter = Counter("jobs", "Jobs done.", ["kind"], registry=registry)
    counter.labels("a").inc()
    reported = failures.counts().get("multiprocess.remove", 0)
    with open(Path(installed.directory) / announcing.REMOVALS, "rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        counter.remove("a")
    assert failures.counts()["multiprocess.remove"] == reported + 1
    assert os.path.getsize(Path(installed.directory) / announcing.REMOVALS) == 0


def test_removing_a_label_set_again_and_again_takes_no_more_room(
    pair: Any, installed: MultiprocessStore
) -> None:
    here, there = pair

    def sessions() -> list[int]:
        for call in (here.call, lambda *each: there.call("call", *each)):
            for name in ("counter", "sum", "livesum", "enum"):
                call(name, ("bob",), *METRICS[name][2])
                call(name, (), "remove", "bob")
        paths = sorted(Path(installed.directory).glob("prom_middleware-*"))
        return [path.stat().st_size for path in paths]

    before = sessions()
    assert all(sessions() == before for _ in range(20))
    assert here.samples() == there.call("samples") == {}
    assert (Path(installed.directory) / announcing.REMOVALS).stat().st_blocks * 512 <= 2**16


def test_removing_one_label_set_looks_at_no_other(
    pair: Any, installed: MultiprocessStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = pair
    update = {name: METRICS[name][2] for name in ("counter", "histogram", "sum", "enum")}
    for name, one in update.items():
        for kind in ("a", "b", "c"):
            here.call(name, (kind,), *one)

    def whole() -> None:
        raise AssertionError("all was read")

    reported = failures.counts()
    with monkeypatch.context() as patch:
        patch.setattr(installed, "_view", whole)
        for name, one in update.items():
            here.call(name, (), "remove", "a")
            there.call("call", name, (), "remove", "b")
            for kind in ("a", "b", "c"):
                here.call(name, (kind,), *one)
    assert failures.counts() == reported
    assert value(here.registry, "counter_total", kind="a") == 2
    assert value(here.registry, "counter_total", kind="b") == 2
    assert value(here.registry, "counter_total", kind="c") == 4
    assert {value(here.registry, "sum", kind=kind) for kind in "ab"} == {2}


def test_who_has_missed_more_than_is_announced_by_name_knows_all(pair: Any) -> None:
    here, there = pair
    there.call("call", "sum", ("a",), "inc", 1)
    here.call("sum", ("b",), "inc", 1)
    for name in map(str, range(announcing.PLACES + 5)):
        here.call("sum", (name,), "inc", 1)
        here.call("sum", (), "remove", name)
    here.call("sum", (), "remove", "a")
    there.call("call", "sum", ("a",), "inc", 3)
    there.call("call", "sum", ("7",), "inc", 4)
    assert {kind: value(here.registry, "sum", kind=kind) for kind in ("a", "b", "7")} == {
        "a": 3,
        "b": 1,
        "7": 4,
    }


@pytest.mark.parametrize(("mode", "expected"), [("sum", 5), ("max", 3), ("min", 2)])
def test_what_dead_workers_left_before_a_removal_is_not_added_to_what_came_after(
    mode: str, expected: int, installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    gauge = Gauge("g", "G.", ["kind"], registry=registry, multiprocess_mode=mode)
    for amounts in ((9, 1), (3, 2)):  # each takes the slot of the one before
        for amount in amounts:
            killed(lambda amount=amount: gauge.labels("a").inc(amount))
        if amounts == (9, 1):
            killed(lambda: gauge.remove("a"))
    assert value(registry, "g", kind="a") == expected


@pytest.mark.parametrize("name", ["sum", "livesum", "max", "enum"])
def test_a_new_worker_does_not_bring_back_what_was_removed_before_it(name: str, pair: Any) -> None:
    here, there = pair
    here.call(name, ("a",), *METRICS[name][2])
    there.call("call", name, (), "remove", "a")
    late = Process(lambda: here)
    late.call("call", "counter", ("b",), "inc", 1)
    found = late.call("samples")
    late.kill()
    assert found == here.samples() == {("counter_total", (("kind", "b"),)): 1}


def test_a_lock_that_is_held_is_waited_for_as_by_any_request(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    import fcntl

    counter = Counter("jobs", "Jobs done.", ["kind"], registry=registry)
    counter.labels("a").inc()
    before = monotonic()
    with open(Path(installed.directory) / "prom_middleware-1.lock", "rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        counter.remove("a")
        took = monotonic() - before
    assert took < 1
    installed._retry_at = 0.0
    assert samples(registry) == {}


@pytest.mark.parametrize("removal", ["remove", "clear"])
def test_a_removal_that_could_not_be_read_of_is_asked_for_again(
    removal: str, pair: Any, installed: MultiprocessStore
) -> None:
    here, there = pair
    here.call("sum", ("a",), "inc", 1)
    there.call("call", "sum", (), *(("remove", "a") if removal == "remove" else ("clear",)))
    installed._retry_at = monotonic() + 60  # somebody had the lock for too long
    here.call("sum", ("a",), "inc", 2)
    installed._retry_at = 0.0
    here.call("sum", ("a",), "inc", 4)
    expected = {("sum", (("kind", "a"),)): 6}
    assert becomes(here.samples, expected) == there.call("samples") == expected


def test_who_removes_knows_of_it_while_somebody_else_removes(
    pair: Any, installed: MultiprocessStore
) -> None:
    here, there = pair
    here.call("sum", ("a",), "set", 1)
    there.call("call", "sum", (), "remove", "a")
    other = announcing.AnnouncementFile(installed.directory)
    with other.removing(b"another!"):
        here.call("sum", ("a",), "set", 2)
    other.close()
    assert here.samples() == there.call("samples") == {("sum", (("kind", "a"),)): 2}


@pytest.mark.parametrize("removal", [("remove", "a"), ("clear",)])
def test_nothing_is_removed_twice_while_it_cannot_be_read_what_others_removed(
    removal: tuple[str, ...], pair: Any, installed: MultiprocessStore
) -> None:
    import fcntl

    here, there = pair
    here.call("counter", ("a",), "inc", 10)
    there.call("call", "counter", (), *removal)
    there.call("call", "counter", ("a",), "inc", 5)
    reported = failures.counts().get("multiprocess.remove", 0)
    with open(Path(installed.directory) / "prom_middleware-1.lock", "rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        here.call("counter", (), *removal)
    installed._retry_at = 0.0
    assert value(here.registry, "counter_total", kind="a") == 5
    assert failures.counts()["multiprocess.remove"] == reported + 1
    here.call("counter", (), *removal)
    assert here.samples() == there.call("samples") == {}


def test_what_is_counted_amid_a_long_removal_is_in_the_store(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory, it was lost if the worker is killed."""
    here, there = pair
    for kind in ("a", "b"):
        here.call("counter", (kind,), "inc")
        here.call("summary", (kind,), "observe", 1)
        here.call("histogram", (kind,), "observe", 1)
    seen: list[Samples] = []
    note = Removals._note

    def meanwhile(*arguments: Any) -> None:
        here.call("histogram", ("a",), "observe", 2)
        here.call("summary", (), "remove", "a")

    def noted(*arguments: Any) -> None:
        seen.append(there.call("samples"))
        note(*arguments)
        if len(seen) == 1:
            thread = threading.Thread(target=meanwhile)
            thread.start()
            thread.join(20)

    monkeypatch.setattr(Removals, "_note", noted)
    reported = failures.counts().get("multiprocess.remove", 0)
    here.call("counter", (), "clear")
    count = ("histogram_count", (("kind", "a"),))
    assert [samples.get(count, 0) for samples in seen] == [1, 2, 2]
    after = here.samples()
    assert after == there.call("samples")
    assert not any(name.startswith("counter") for name, _ in after)
    assert ("summary_count", (("kind", "a"),)) not in after
    assert after["summary_count", (("kind", "b"),)] == 1
    assert failures.counts().get("multiprocess.remove", 0) == reported


@pytest.mark.parametrize("other", ["sum", "counter"])
def test_what_is_removed_and_set_amid_a_long_removal_keeps_its_order(
    other: str, pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = pair
    for name in ("counter", "sum"):
        for kind in ("a", "b"):
            here.call(name, (kind,), "inc", 1)
    note = Removals._note
    threads: list[threading.Thread] = []

    def meanwhile() -> None:
        here.call(other, (), "remove", "a")
        here.call(other, ("a",), "inc", 3)
        here.call("mostrecent", ("a",), "set", 7)
        here.call("sum", ("b",), "set", 9)

    def noted(*arguments: Any) -> None:
        note(*arguments)
        if not threads:
            threads.append(threading.Thread(target=meanwhile))
            threads[0].start()
            threads[0].join(20)

    monkeypatch.setattr(Removals, "_note", noted)
    here.call("sum", (), "clear")
    after = here.samples()
    assert after == there.call("samples")
    name = "counter_total" if other == "counter" else "sum"
    assert after[name, (("kind", "a"),)] == 3
    assert after["sum", (("kind", "b"),)] == 9
    assert after["mostrecent", (("kind", "a"),)] == 7


def test_a_child_forked_in_the_midst_of_a_removal_does_not_keep_its_lock(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", ["kind"], registry=registry)
    counter.labels("a").inc()
    asked, ask = os.pipe()

    def lives_on() -> None:
        os.close(ask)
        os.read(asked, 1)

    def forks() -> None:
        removing = announcing.AnnouncementFile(installed.directory).removing(b"another!")
        removing.__enter__()
        fork(lives_on)
        os.kill(os.getpid(), signal.SIGKILL)

    try:
        killed(forks)
        counter.remove("a")
        assert samples(registry) == {}
    finally:
        os.close(ask)
        os.close(asked)


@pytest.mark.parametrize("name", METRICS)
def test_in_memory_it_is_the_same(name: str, registry: CollectorRegistry) -> None:
    make, options, update = METRICS[name]
    install(MemoryStore())
    try:
        metric = make(name, "M.", ["kind"], registry=registry, **options)
        getattr(metric.labels("a"), update[0])(*update[1:])
        once = samples(registry)
        metric.labels("b")
        for remove in (lambda: metric.remove("a"), metric.clear):
            remove()
            assert not {key for key in samples(registry) if ("kind", "a") in key[1]}
            getattr(metric.labels("a"), update[0])(*update[1:])
            assert once.items() <= samples(registry).items()
    finally:
        uninstall()
