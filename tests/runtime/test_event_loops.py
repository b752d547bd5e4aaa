"""What is sampled of real event loops, from `install` to `uninstall`."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from contextlib import suppress
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from metrics import Series, collected, names, value
from prom_middleware import failures, runtime
from prom_middleware.asgi import PrometheusMiddleware
from prom_middleware.runtime import installation
from waiting import eventually

LAG = "asyncio_event_loop_lag_seconds"


def sampled(registry: CollectorRegistry) -> float:
    return value(collected(registry), f"{LAG}_count")


async def until(registry: CollectorRegistry, count: float) -> Series:
    while sampled(registry) < count:
        await asyncio.sleep(0.02)
    return collected(registry)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prom_middleware.runtime.loops.INTERVAL", 0.01)


def test_lag_and_tasks_of_the_running_loop(registry: CollectorRegistry) -> None:
    async def main() -> Series:
        runtime.install(registry)
        others = [asyncio.create_task(asyncio.sleep(60)) for _ in range(3)]
        await until(registry, 1)
        found = await until(registry, sampled(registry) + 1)
        while value(found, "asyncio_tasks") != len(asyncio.all_tasks()):
            found = await until(registry, sampled(registry) + 1)
        for other in others:
            other.cancel()
        return found

    found = asyncio.run(asyncio.wait_for(main(), 60))
    assert value(found, f"{LAG}_sum") >= 0
    assert collected(registry)["asyncio_tasks", frozenset()] == 0, "that loop is closed"


def test_a_loop_that_is_held_up(registry: CollectorRegistry) -> None:
    async def main() -> None:
        runtime.install(registry)
        await until(registry, 1)
        time.sleep(0.15)
        await until(registry, sampled(registry) + 1)

    asyncio.run(asyncio.wait_for(main(), 60))
    found = collected(registry)
    late = value(found, f"{LAG}_count") - value(found, f"{LAG}_bucket", {"le": "0.1"})
    assert late >= 1
    assert value(found, f"{LAG}_sum") > 0.1


def test_loops_end_and_are_free_to_go(registry: CollectorRegistry) -> None:
    async def main() -> Any:
        runtime.install(registry)
        runtime.watch_event_loop()
        await until(registry, sampled(registry) + 1)
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(asyncio.wait_for(main(), 60))
    count = sampled(registry)
    gc.collect()
    assert loop() is None
    assert asyncio.run(asyncio.wait_for(main(), 60)) is not None
    assert sampled(registry) > count


def test_uninstall_ends_the_sampling() -> None:
    registry = CollectorRegistry()

    async def main() -> None:
        runtime.install(registry)
        await until(registry, 1)
        runtime.uninstall(registry)
        loop: Any = asyncio.get_running_loop()
        while any("Sampler" in repr(handle) for handle in [*loop._scheduled, *loop._ready]):
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_uninstall_of_another_registry_ends_nothing(registry: CollectorRegistry) -> None:
    async def main() -> None:
        runtime.watch_event_loop()
        runtime.uninstall(CollectorRegistry())
        await asyncio.to_thread(runtime.install, registry)  # no loop runs there
        await until(registry, 1)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_loop_of_another_thread(registry: CollectorRegistry) -> None:
    runtime.install(registry)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        runtime.watch_event_loop(loop)
        assert eventually(lambda: sampled(registry), bool)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_uvloop(registry: CollectorRegistry) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        runtime.install(registry)
        await until(registry, 3)

    loop = uvloop.new_event_loop()
    loop.run_until_complete(asyncio.wait_for(main(), 60))
    loop.close()
    assert sampled(registry) >= 3


def test_no_loop_to_watch(registry: CollectorRegistry) -> None:
    runtime.install(registry)
    with pytest.raises(RuntimeError):
        runtime.watch_event_loop()
    assert not [name for name in names(registry) if name in (LAG, "asyncio_tasks")]


def test_a_loop_that_cannot_be_watched_does_not_keep_us_from_installing(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, loop: Any) -> None:
        raise RuntimeError("broken")

    async def main() -> None:
        runtime.install(registry)

    monkeypatch.setattr("prom_middleware.runtime.loops.Loops.watch", broken)
    before = failures.counts().get("event_loop", 0)
    asyncio.run(main())
    assert failures.counts()["event_loop"] == before + 1
    assert "python_package_info" in names(registry)


def test_a_failure_does_not_end_the_sampling(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = failures.counts().get("event_loop", 0)

    def broken(loop: Any) -> Any:
        raise RuntimeError("broken")

    async def main() -> None:
        runtime.install(registry)
        monkeypatch.setattr(asyncio, "all_tasks", broken)
        await until(registry, 3)

    with suppress(RuntimeError):  # asyncio itself looks for tasks that are left
        asyncio.run(asyncio.wait_for(main(), 60))
    assert failures.counts()["event_loop"] > before
    assert sampled(registry) >= 3


def test_counting_many_tasks_is_done_less_often(registry: CollectorRegistry) -> None:
    counted: list[int] = []

    async def main() -> None:
        runtime.install(registry)
        process = installation._process
        assert process is not None
        (sampler,) = process.loops._samplers.values()
        await until(registry, 1)
        sampler._next = float("inf")  # as after a count that took for ever
        before = sampler._count
        others = [asyncio.create_task(asyncio.sleep(60)) for _ in range(5)]
        await until(registry, sampled(registry) + 3)
        counted.extend((before, sampler._count))
        for other in others:
            other.cancel()

    asyncio.run(asyncio.wait_for(main(), 60))
    assert counted[0] == counted[1]


# --- doors


async def _lifespan(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "lifespan"


def test_the_asgi_door_says_when_a_loop_starts(registry: CollectorRegistry) -> None:
    app = PrometheusMiddleware(_lifespan, registry=registry)

    async def main() -> None:
        await app({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
        await until(registry, 1)

    runtime.install(registry)
    asyncio.run(asyncio.wait_for(main(), 60))
    assert sampled(registry) >= 1


def test_without_install_the_door_samples_nothing(registry: CollectorRegistry) -> None:
    app = PrometheusMiddleware(_lifespan, registry=registry)
    before = failures.counts()
    asyncio.run(app({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert failures.counts() == before
    assert installation._process is None
    assert LAG not in names(registry)
