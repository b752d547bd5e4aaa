"""`runtime.install`: one call for everything that a process tells of itself."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest

from metrics import collected, names, value
from prom_middleware import failures, runtime
from prom_middleware.errors import MetricConflictError
from prom_middleware.runtime import installation, packages

PAUSES = "python_gc_duration_seconds"
LAG = "asyncio_event_loop_lag_seconds"


# --- one call


def test_everything_is_there(registry: CollectorRegistry) -> None:
    runtime.install(registry)
    gc.collect()
    found = names(registry)
    wanted = {
        "python_info",
        "python_gc_objects_collected",
        "python_gc_duration_seconds",
        "python_package_info",
        "python_threads_current",
        "python_threads_daemon",
    }
    wanted |= {"process_cpu_seconds"} if Path("/proc/stat").exists() else set()
    assert wanted <= set(found)
    assert len(found) == len(set(found))
    generate_latest(registry)


def test_again_and_from_many_threads(registry: CollectorRegistry) -> None:
    barrier = threading.Barrier(8)

    def install() -> None:
        barrier.wait()
        runtime.install(registry)

    threads = [threading.Thread(target=install) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = names(registry)
    assert len(found) == len(set(found))
    assert sum("Pauses" in repr(callback) for callback in gc.callbacks) == 1


def test_the_default_registry() -> None:
    """In a process of its own: it is everybody's."""
    program = (
        "from prometheus_client import REGISTRY\n"
        "from prom_middleware import runtime\n"
        "before = {family.name for family in REGISTRY.collect()}\n"
        "runtime.install(); runtime.install()\n"
        "after = [family.name for family in REGISTRY.collect()]\n"
        "assert before <= set(after) and len(after) == len(set(after)), after\n"
        "print(sorted(set(after) - before))"
    )
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert "python_package_info" in told.stdout


def test_two_registries(registry: CollectorRegistry) -> None:
    other = CollectorRegistry(auto_describe=True)
    runtime.install(registry)
    runtime.install(other)
    gc.collect()
    count = value(collected(other), f"{PAUSES}_count", {"generation": "2"})
    assert value(collected(registry), f"{PAUSES}_count", {"generation": "2"}) >= count > 0
    runtime.uninstall(other)
    assert not [name for name in names(other) if name == PAUSES]
    gc.collect()
    assert value(collected(registry), f"{PAUSES}_count", {"generation": "2"}) > count


def test_a_process_collector_of_one_s_own(registry: CollectorRegistry) -> None:
    ProcessCollector(registry=registry)
    runtime.install(registry)
    found = names(registry)
    assert len(found) == len(set(found))


def test_a_registry_that_was_emptied(registry: CollectorRegistry) -> None:
    """As some test suites do."""
    for _ in range(2):
        runtime.install(registry)
        assert "python_package_info" in names(registry)
        for collector in list(registry._collector_to_names):
            registry.unregister(collector)
        assert names(registry) == []
    runtime.uninstall(registry)
    assert installation._process is None


def test_somebody_else_s_metric(registry: CollectorRegistry) -> None:
    Gauge("asyncio_tasks", "The user's own.", registry=registry)
    with pytest.raises(MetricConflictError, match="asyncio_tasks"):
        runtime.install(registry)
    assert names(registry) == ["asyncio_tasks"], "nothing of ours is left behind"
    other = CollectorRegistry()
    runtime.install(other)
    runtime.uninstall(other)


CONFLICT = """
from prometheus_client import REGISTRY, CollectorRegistry, Gauge
from prom_middleware import runtime
from prom_middleware.errors import MetricConflictError
for registry in (REGISTRY, CollectorRegistry()):
    before = {family.name for family in registry.collect()}
    Gauge("asyncio_tasks", "The user's own.", registry=registry)
    try:
        runtime.install(registry)
    except MetricConflictError:
        print(before ^ {family.name for family in registry.collect()})
"""


def test_somebody_else_s_metric_in_the_place_of_prometheus_client_s() -> None:
    registry = CollectorRegistry(auto_describe=True)
    Gauge("python_info", "The user's own.", registry=registry)
    runtime.install(registry)
    found = names(registry)
    assert len(found) == len(set(found))
    assert {"python_info", "python_package_info", "python_gc_objects_collected"} <= set(found)
    runtime.uninstall(registry)


def in_shared(directory: Path, program: str) -> str:
    """Return what a program says that shares a store."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_somebody_else_s_metric_where_a_store_is_shared(tmp_path: Path) -> None:
    assert in_shared(tmp_path, CONFLICT) == "{'asyncio_tasks'}\n" * 2


AGAIN = """
from prometheus_client import REGISTRY, CollectorRegistry
from prom_middleware import failures, runtime
for registry in (REGISTRY, CollectorRegistry()):
    for _ in range(2):
        runtime.install(registry)
    names = [family.name for family in registry.collect()]
    wanted = {"python_gc_collections", "prom_middleware_worker_restarts", "python_info"}
    print(len(names) - len(set(names)), wanted - set(names), failures.counts())
"""


def test_again_and_without_a_door_where_a_store_is_shared(tmp_path: Path) -> None:
    assert in_shared(tmp_path, AGAIN) == "0 set() {}\n" * 2


def test_uninstall_where_nothing_is_installed(registry: CollectorRegistry) -> None:
    runtime.uninstall(registry)


def test_uninstall_leaves_nothing_in_memory(registry: CollectorRegistry) -> None:
    runtime.install(registry)
    assert installation._process is not None
    left = weakref.ref(installation._process)
    runtime.uninstall(registry)
    gc.collect()
    assert left() is None


# --- what it shows


def test_pauses_by_generation(registry: CollectorRegistry) -> None:
    runtime.install(registry)
    before = collected(registry)
    for generation in (0, 1, 2):
        gc.collect(generation)
    after = collected(registry)
    for generation in ("0", "1", "2"):
        where = {"generation": generation}
        assert value(after, f"{PAUSES}_count", where) >= value(before, f"{PAUSES}_count", where) + 1
    assert 0 < value(after, f"{PAUSES}_sum") < 60
    assert value(after, f"{PAUSES}_bucket", {"le": "+Inf"}) == value(after, f"{PAUSES}_count")


def test_packages(registry: CollectorRegistry) -> None:
    runtime.install(registry)
    found = {
        labels["package"]: labels["version"]
        for (name, pairs), number in collected(registry).items()
        if name == "python_package_info" and number == 1
        for labels in [dict(pairs)]
    }
    assert found["prometheus_client"] == version("prometheus_client")
    assert found.keys() <= set(packages.PACKAGES.values())
    loaded = {top for top in packages.PACKAGES if top in sys.modules}
    assert {packages.PACKAGES[top] for top in loaded} >= found.keys()


def test_a_module_that_is_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(packages.PACKAGES, "waiting", "nothing-of-that-name")
    assert "nothing-of-that-name" not in packages.loaded()


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"version": b"2.0.31"}, {"uwsgi": "2.0.31"}),
        ({"version": "2.0.31"}, {"uwsgi": "2.0.31"}),
        ({}, {}),
    ],
)
def test_a_module_that_the_server_makes_tells_its_version(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, object], shown: dict[str, str]
) -> None:
    monkeypatch.setattr(packages, "_version", packages._version.__wrapped__)  # it remembers
    monkeypatch.setattr(packages, "PACKAGES", {"uwsgi": "uwsgi"})
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(**told))
    assert packages.loaded() == shown


def test_threads(registry: CollectorRegistry) -> None:
    runtime.install(registry)
    before = collected(registry)
    done = threading.Event()
    threads = [threading.Thread(target=done.wait, daemon=daemon) for daemon in (True, True, False)]
    for thread in threads:
        thread.start()
    after = collected(registry)
    done.set()
    for thread in threads:
        thread.join()
    current, daemon = "python_threads_current", "python_threads_daemon"
    assert value(after, current) == value(before, current) + 3
    assert value(after, daemon) == value(before, daemon) + 2


def test_a_collector_that_breaks_leaves_the_rest(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.install(registry)

    def broken(self: Any, snapshot: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr("prom_middleware.runtime.recording.Durations.shown", broken)
    before = failures.counts().get("runtime", 0)
    assert "python_info" in names(registry)
    assert failures.counts()["runtime"] == before + 1


# --- garbage collection in the middle of anything


def test_in_the_middle_of_the_store_s_own_writing(registry: CollectorRegistry) -> None:
    """Whoever holds the turn sets off a collection: it waits, and is written afterwards."""
    runtime.install(registry)
    process = installation._process
    assert process is not None
    turn = process.store.turn
    before = value(collected(registry), f"{PAUSES}_count", {"generation": "2"})
    seen = []

    def write() -> None:
        gc.collect()
        seen.append(len(turn.pending))

    turn.update(write)
    turn.read(gc.collect)
    assert seen == [1]
    assert value(collected(registry), f"{PAUSES}_count", {"generation": "2"}) >= before + 2


def test_in_finalizers_and_under_threads(registry: CollectorRegistry) -> None:
    runtime.install(registry)
    before = value(collected(registry), f"{PAUSES}_count", {"generation": "0"})

    class Finalized:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            list(registry.collect())

    def work() -> None:
        for _ in range(20):
            Finalized()
            gc.collect(0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert value(collected(registry), f"{PAUSES}_count", {"generation": "0"}) >= before + 20


def test_a_failure_in_the_callback_is_counted(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.install(registry)
    process = installation._process
    assert process is not None
    monkeypatch.setattr(process.pauses, "_store", None)
    before = failures.counts().get("gc", 0)
    gc.collect()
    assert failures.counts()["gc"] > before


def test_nothing_is_left_when_the_interpreter_ends() -> None:
    program = (
        "import gc\n"
        "from prom_middleware import runtime\n"
        "runtime.install()\n"
        "class Late:\n"
        "    def __init__(self): self.me = self\n"
        "    def __del__(self, collect=gc.collect): collect()\n"
        "late = Late()\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
