"""What is asked of a loop, by a clock of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clocks import Clock
from prom_middleware import failures
from prom_middleware.runtime import loops
from prom_middleware.runtime.loops import ASYNCIO, SHARE, Loops, LoopSampler, Sampler
from prom_middleware.stores import MemoryStore, Store
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(100.0)
    monkeypatch.setattr(loops, "monotonic", clock)
    monkeypatch.setattr(loops, "perf_counter", clock)
    return clock


def written(store: Store) -> float | None:
    """Return the tasks that any process is told of."""
    return Loops(store).tasks(store.snapshot())


def test_how_late_a_call_is(clock: Clock) -> None:
    """Four times a second, and never less than not at all."""
    store = MemoryStore()
    calls: list[tuple[float, Callable[[], None]]] = []
    Sampler(store, ASYNCIO, lambda *call: calls.append(call), lambda: False).start()
    for late in (0.5, 0.0, 2.0, -0.125):
        delay, call = calls.pop()
        assert delay == 0.25
        clock.now += delay + late
        call()
    (family,) = ASYNCIO.shown(store.snapshot())
    shown = {sample.labels.get("le", sample.name): sample.value for sample in family.samples}
    assert shown["0.001"] == 2
    assert (shown["0.25"], shown["0.5"]) == (2, 3)
    assert shown["asyncio_event_loop_lag_seconds_sum"] == 2.5


def test_tasks_are_counted_at_once_and_told_to_all() -> None:
    async def main() -> float | None:
        others = [asyncio.create_task(asyncio.sleep(60)) for _ in range(2)]
        store = MemoryStore()
        running = Loops(store)
        running.watch(asyncio.get_running_loop())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for other in others:
            other.cancel()
        return written(store)

    assert asyncio.run(main()) == 3


def test_a_first_count_that_fails_is_a_failure_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(loop: Any) -> Any:
        raise RuntimeError("broken")

    told: list[Any] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        Loops(MemoryStore()).watch(loop)
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "all_tasks", broken)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    before = failures.counts().get("event_loop", 0)
    asyncio.run(main())
    assert failures.counts()["event_loop"] == before + 1
    assert told == []


def test_counting_takes_a_small_share_of_the_time(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[float] = []

    def count(loop: object) -> list[None]:
        counts.append(clock.now)
        clock.now += 2
        return [None]

    monkeypatch.setattr(asyncio, "all_tasks", count)
    loop = asyncio.new_event_loop()
    sampler = LoopSampler(loop, Loops(MemoryStore()))
    for now in (100, 102, 101 + 2 / SHARE, 103 + 2 / SHARE):
        clock.now = now
        sampler.look()
    loop.close()
    assert counts == [100, 103 + 2 / SHARE]


def test_a_loop_is_sampled_once_however_often_it_is_to_be() -> None:
    async def main() -> int:
        loop: Any = asyncio.get_running_loop()
        running = Loops(MemoryStore())
        for _ in range(3):
            running.watch(loop)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return sum("Sampler" in repr(handle) for handle in [*loop._scheduled, *loop._ready])

    assert asyncio.run(main()) == 1


def test_two_threads_that_sample_a_loop_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    both: list[LoopSampler] = []

    class Overtaken(LoopSampler):
        def __init__(self, loop: Any, running: Loops) -> None:
            super().__init__(loop, running)
            both.append(self)
            if len(both) == 1:
                running.watch(loop)  # as another thread does at this moment

    async def main() -> int:
        loop: Any = asyncio.get_running_loop()
        Loops(MemoryStore()).watch(loop)
        return sum("begin" in repr(handle) for handle in loop._ready)

    monkeypatch.setattr(loops, "LoopSampler", Overtaken)
    assert asyncio.run(main()) == 1
    assert len(both) == 2


@pytest.mark.forks
def test_a_child_does_not_have_the_tasks_of_its_parent() -> None:
    store = MemoryStore()
    running = Loops(store)

    def child() -> None:
        running.refresh()
        assert written(store) == 0
        for sampler in running._samplers.values():
            sampler.look()
        assert written(store) == 1, "that loop goes on there"

    async def main() -> int:
        running.watch(asyncio.get_running_loop())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert written(store) == 1
        return run(child)

    assert asyncio.run(main()) == 0


def test_the_tasks_of_several_loops_are_added() -> None:
    store = MemoryStore()
    running = Loops(store)
    several = [asyncio.new_event_loop() for _ in range(3)]
    for loop in several:
        running.watch(loop)
        loop.run_until_complete(asyncio.sleep(0))
    assert written(store) == 3
    for left, loop in enumerate(several):
        loop.close()
        running.refresh()
        assert written(store) == 2 - left


def test_who_is_gone_has_no_tasks(tmp_path: Path) -> None:
    stores = [MultiprocessStore(tmp_path) for _ in range(2)]
    for store in stores:
        running = Loops(store)
        loop = asyncio.new_event_loop()
        running.watch(loop)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert written(stores[1]) == 2
    stores[0].close()
    assert written(stores[1]) == 1
