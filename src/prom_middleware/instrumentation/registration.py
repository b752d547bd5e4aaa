"""One recorder for each registry, however many doors and applications use it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry

from prom_middleware import failures
from prom_middleware.errors import MetricConflictError
from prom_middleware.forks import in_child
from prom_middleware.instrumentation.collector import RequestCollector
from prom_middleware.instrumentation.recorder import Recorder
from prom_middleware.instrumentation.series import Schema, SeriesSet
from prom_middleware.instrumentation.sharing import share_failures
from prom_middleware.multiprocess.showing import note_shown
from prom_middleware.stores import MemoryStore
from prom_middleware.stores.shared import named_directory, shared_store

if TYPE_CHECKING:
    from prom_middleware.stores import Store

# What a schema's fields are called by who gives them.
OPTIONS = {
    "presets": "preset",
    "bounds": "buckets",
    "extra_labels": "labels",
    "native_histograms": "native_histograms",
}
ALWAYS_THERE = "prom_middleware_workers"
_lock = threading.Lock()
_named = 0
_collectors: WeakKeyDictionary[CollectorRegistry, RequestCollector] = WeakKeyDictionary()


@in_child
def _in_child() -> None:
    global _lock
    _lock = threading.Lock()  # a thread that is not in the child may have held the other


def recorder_for(registry: CollectorRegistry, schema: Schema, max_series: int) -> Recorder:
    """Return the recorder of `registry`, made and registered at the first call.

    Raises MetricConflictError where the registry has other metrics of our names, or has ours with
    other buckets, presets, label names or native histograms.
    """
    with _lock:
        collector = _collectors.get(registry)
        if collector is None:
            return _register(registry, schema, max_series)
        _check(collector.recorder.series.schema, schema)
        if not _is_registered(registry):  # a test suite may have emptied it
            _add(registry, collector)
        collector.recorder.series.limit(max_series)
        return collector.recorder


def registered(registry: object) -> Recorder | None:
    """Return the recorder of `registry` if a door was made for it."""
    if not isinstance(registry, CollectorRegistry):
        return None
    collector = _collectors.get(registry)
    return None if collector is None else collector.recorder


def _register(registry: CollectorRegistry, schema: Schema, max_series: int) -> Recorder:
    global _named
    store = shared_store() or MemoryStore()
    number = 0 if registry is REGISTRY else _named + 1
    series = SeriesSet(store, schema, max_series, f"registry {number}" if number else "")
    collector = RequestCollector(Recorder(store, series))
    _add(registry, collector)
    # Not before: a conflict in one worker must not shift the names of the ones after it.
    _named = max(_named, number)
    _collectors[registry] = collector
    if store.shared:
        _share(registry, store)
    return collector.recorder


def _share(registry: CollectorRegistry, store: Store) -> None:
    """Have everything else that this process counts shown for all workers as well."""
    share_failures(store)
    note_shown(registry)
    try:
        from prom_middleware.runtime.processes import replace

        replace(registry, store)
        # With a directory of its own, `prometheus_client` writes files, and those are shown; in a
        # private one the users' metrics would be those of the worker that answers.
        if named_directory() is None:
            from prom_middleware.multiprocess.patches import share

            share(store)
    except Exception as error:
        failures.report("share", error)


def _is_registered(registry: CollectorRegistry) -> bool:
    # A family that is always there, and that nobody else makes.
    return any(True for _ in registry.restricted_registry([ALWAYS_THERE]).collect())


def _add(registry: CollectorRegistry, collector: RequestCollector) -> None:
    try:
        registry.register(collector)
    except ValueError as error:
        raise MetricConflictError(
            f"the registry already has metrics that prom_middleware makes ({error}); remove the "
            "other instrumentation, or give this door a registry of its own: registry=..."
        ) from error


def _check(existing: Schema, wanted: Schema) -> None:
    for field, option in OPTIONS.items():
        one, other = getattr(existing, field), getattr(wanted, field)
        if one != other:
            raise MetricConflictError(
                f"another application records in the same registry with {option}={one!r}, this one "
                f"wants {other!r}; use the same, or give this door a registry of its own"
            )
