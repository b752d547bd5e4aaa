"""What is written down while the process works: in which cell, and when."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from metrics import collected, value
from prom_middleware import runtime
from prom_middleware.runtime import loops, pauses
from prom_middleware.runtime.interpreter import InterpreterCollector
from prom_middleware.runtime.loops import Loops
from prom_middleware.runtime.pauses import COLLECTED, MOST_WAITING, UNCOLLECTABLE, Pauses
from prom_middleware.runtime.recording import Durations
from prom_middleware.stores import MemoryStore, Store
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import run

DURATIONS = Durations("d_seconds", "Some.", ("of",), (1.0, 2.0), extra=2)


@pytest.fixture
def by_hand() -> Iterator[None]:
    """Have no garbage collected but by who asks for it."""
    gc.disable()
    yield
    gc.enable()


def test_a_histogram_with_more_numbers_beside_it() -> None:
    store = MemoryStore()
    for seconds in (0.5, 1.0, 1.5, 2.0, 64.0):
        DURATIONS.observe(store, ("a",), seconds, (1, 10))
    snapshot = store.snapshot()
    (family,) = DURATIONS.shown(snapshot)
    shown = {sample.labels.get("le", sample.name): sample.value for sample in family.samples}
    assert shown == {"1.0": 2, "2.0": 4, "+Inf": 5, "d_seconds_count": 5, "d_seconds_sum": 69}
    assert list(DURATIONS.counts(snapshot)) == [(("a",), 5)]
    assert [list(DURATIONS.beside(snapshot, place)) for place in (0, 1)] == [
        [(("a",), 5)],
        [(("a",), 50)],
    ]


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_described_is_what_is_shown(tmp_path: Path, shared: bool) -> None:
    store: Store = MultiprocessStore(tmp_path) if shared else MemoryStore()
    store.turn.update(pauses.DURATIONS.observe, store, ("0",), 0.1, (1, 2))
    for lags in (loops.ASYNCIO, loops.TWISTED):
        store.turn.update(lags.observe, store, (), 0.1)
    running = Loops(store)
    running.write_tasks()
    collector = InterpreterCollector(store, Pauses(store), running)
    described = {(family.name, family.type) for family in collector.describe()}
    assert described == {(family.name, family.type) for family in collector.collect()}


def collection(watched: Pauses, generation: int = 0) -> None:
    for phase in ("start", "stop"):
        watched._notice(phase, {"generation": generation, "collected": 3, "uncollectable": 1})


def counted(store: Store) -> dict[tuple[str, ...], float]:
    return dict(pauses.DURATIONS.counts(store.snapshot()))


def test_short_collections_are_written_some_at_a_time() -> None:
    store = MemoryStore()
    watched = Pauses(store)
    for _ in range(MOST_WAITING - 1):
        collection(watched)
    assert counted(store) == {}
    collection(watched)
    assert counted(store) == {("0",): MOST_WAITING}
    collection(watched)
    collection(watched, generation=1)
    assert counted(store) == {("0",): MOST_WAITING + 1, ("1",): 1}


def test_the_objects_of_a_collection() -> None:
    store = MemoryStore()
    for _ in range(2):
        collection(Pauses(store), generation=2)
    for place, number in ((COLLECTED, 6), (UNCOLLECTABLE, 2)):
        assert list(pauses.DURATIONS.beside(store.snapshot(), place)) == [(("2",), number)]


def test_a_collection_whose_beginning_was_not_seen_is_none() -> None:
    store = MemoryStore()
    watched = Pauses(store)
    watched._notice("stop", {"generation": 2, "collected": 0, "uncollectable": 0})
    assert counted(store) == {}


@pytest.mark.usefixtures("by_hand")
def test_what_waits_is_shown() -> None:
    registry = CollectorRegistry()
    runtime.install(registry)
    for _ in range(3):
        gc.collect(0)
    assert value(collected(registry), "python_gc_duration_seconds_count") == 3
    runtime.uninstall(registry)


def test_what_waits_at_the_end_is_written_where_that_is_no_effort() -> None:
    store = MemoryStore()
    watched = Pauses(store)
    collection(watched)
    watched.stop()
    assert counted(store) == {}
    collection(watched)
    watched.flush()
    collection(watched)
    watched.stop()
    assert counted(store) == {("0",): 2}


@pytest.mark.forks
def test_what_waits_is_not_the_child_s() -> None:
    store = MemoryStore()
    watched = Pauses(store)
    collection(watched)

    def child() -> None:
        watched.flush()
        assert counted(store) == {}

    assert run(child) == 0
    watched.flush()
    assert counted(store) == {("0",): 1}
