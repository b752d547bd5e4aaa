"""Everything that a process tells of itself, in one registry, by one call."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    REGISTRY,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.registry import Collector

from prom_middleware import failures
from prom_middleware.errors import MetricConflictError
from prom_middleware.forks import in_child
from prom_middleware.runtime.interpreter import InterpreterCollector
from prom_middleware.runtime.loops import TWISTED, Loops, Sampler
from prom_middleware.runtime.pauses import Pauses
from prom_middleware.runtime.processes import WorkerCollector, replace
from prom_middleware.stores import MemoryStore, Store
from prom_middleware.stores.shared import shared_store

# What `prometheus_client` has of a process, and what is as good.
THEIRS: dict[Collector, tuple[type, ...]] = {
    PROCESS_COLLECTOR: (ProcessCollector, WorkerCollector),
    PLATFORM_COLLECTOR: (PlatformCollector,),
    GC_COLLECTOR: (GCCollector,),
}

_lock = threading.Lock()


@in_child
def _in_child() -> None:
    global _lock
    _lock = threading.Lock()  # a thread that is not in the child may have held the other


class _Process:
    """What is watched in this process, whoever shows it."""

    def __init__(self) -> None:
        self.store: Store = shared_store() or MemoryStore()
        self.pauses = Pauses(self.store)
        self.loops = Loops(self.store)
        self.collectors: WeakKeyDictionary[CollectorRegistry, InterpreterCollector]
        self.collectors = WeakKeyDictionary()

    def end(self) -> None:
        """Watch nothing any more."""
        self.pauses.stop()
        self.loops.stop()


_process: _Process | None = None


def install(registry: CollectorRegistry = REGISTRY) -> None:
    """Show what the process and its interpreter tell of themselves in `registry`.

    Process, platform and garbage collector metrics as `prometheus_client` has them, where they are
    missing; and besides: pauses of the garbage collector, lag and tasks of the event loop that an
    ASGI server runs us in, lag of Twisted's reactor, threads, and versions of packages. Where
    several workers share a store, they are those of all workers.

    It may be called again, from any thread. It is what `DefaultExports.initialize()` is in Java and
    `collectDefaultMetrics()` in Node. Raises MetricConflictError, and adds nothing, where the
    registry has other metrics of the names that are ours (README, "Run time").
    """
    with _lock:
        process = _the_process()
        # Each process counts its own collections: of several, we show those of all.
        replaced = process.store.shared and _take_out(registry, GC_COLLECTOR)
        try:
            _add_ours(registry, process)  # first: where it raises, nothing else was added
        except MetricConflictError:
            if replaced:
                registry.register(GC_COLLECTOR)
            raise
        _add_theirs(registry, process.store)
        process.pauses.start()
    _watch_running_loop(process)


def uninstall(registry: CollectorRegistry = REGISTRY) -> None:
    """Undo `install`, but for `prometheus_client`'s; after the last one nothing is watched."""
    global _process
    with _lock:
        process = _process
        if process is None or registry not in process.collectors:
            return
        with suppress(KeyError):  # a test suite may have emptied it
            registry.unregister(process.collectors.pop(registry))
        if not process.collectors:
            process.end()
            atexit.unregister(process.end)
            _process = None


def watch_event_loop(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Sample the lag and the tasks of `loop`, or of the running one, for as long as it lives.

    The ASGI doors do this by themselves when the server says that it starts (lifespan). Without
    that, as under Daphne, call it in a coroutine, after `install`. Raises RuntimeError where no
    loop is given and none runs.
    """
    loop = loop or asyncio.get_running_loop()
    with _lock:
        process = _the_process()
    process.loops.watch(loop)


def notice_event_loop() -> None:
    """Sample the running loop if `install` was called; never raises."""
    if _process is not None:
        _watch_running_loop(_process)


def reactor_sampler(call_later: Callable[..., Any]) -> Sampler | None:
    """Return a sampler of Twisted's reactor, if `install` was called."""
    process = _process
    if process is None:
        return None
    return Sampler(process.store, TWISTED, call_later, lambda: process.loops.is_over)


def _the_process() -> _Process:
    global _process
    if _process is None:
        _process = _Process()
        # No callback may run while the interpreter takes itself apart.
        atexit.register(_process.end)
    return _process


def _watch_running_loop(process: _Process) -> None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # no loop, or one of another kind
        return
    try:
        process.loops.watch(loop)
    except Exception as error:
        failures.report("event_loop", error)


def _add_theirs(registry: CollectorRegistry, store: Store) -> None:
    for collector, kinds in THEIRS.items():
        if not (_has(registry, kinds) or (store.shared and collector is GC_COLLECTOR)):
            with suppress(ValueError):  # somebody else's metric has the name
                registry.register(collector)
    if store.shared:
        replace(registry, store)


def _take_out(registry: CollectorRegistry, collector: Collector) -> bool:
    """Unregister a collector; return whether it was there."""
    try:
        registry.unregister(collector)
    except KeyError:
        return False
    return True


def _has(registry: CollectorRegistry, kinds: tuple[type, ...]) -> bool:
    # By what is registered: a collector that does not describe itself has no names to look for.
    registered = list(getattr(registry, "_collector_to_names", ()))
    return any(isinstance(collector, kinds) for collector in registered)


def _add_ours(registry: CollectorRegistry, process: _Process) -> None:
    collector = process.collectors.get(registry)
    known = collector is not None
    collector = collector or InterpreterCollector(process.store, process.pauses, process.loops)
    try:
        registry.register(collector)
    except ValueError as error:
        if known:
            return
        raise MetricConflictError(
            f"the registry already has metrics of the run time ({error}); remove the other "
            "collector, or give install() a registry of its own"
        ) from error
    process.collectors[registry] = collector
