"""One recorder for each registry, however many doors and applications use it."""

from __future__ import annotations

import threading
from contextlib import suppress
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry

from prom_middleware.errors import MetricConflictError
from prom_middleware.instrumentation.collector import RequestCollector
from prom_middleware.instrumentation.recorder import Recorder
from prom_middleware.instrumentation.series import Schema, SeriesSet
from prom_middleware.stores import MemoryStore

_lock = threading.Lock()
_collectors: WeakKeyDictionary[CollectorRegistry, RequestCollector] = WeakKeyDictionary()


def recorder_for(registry: CollectorRegistry, schema: Schema, max_series: int) -> Recorder:
    """Return the recorder of `registry`, made and registered at the first call.

    Raises MetricConflictError where the registry has other metrics of our names, or has ours with
    other buckets, presets or label names.
    """
    with _lock:
        collector = _collectors.get(registry)
        if collector is None:
            return _register(registry, schema, max_series)
        _check(collector.recorder.series.schema, schema)
        # A test suite may have emptied the registry; if not, this one is there already.
        with suppress(ValueError):
            registry.register(collector)
        collector.recorder.series.limit(max_series)
        return collector.recorder


def registered(registry: object) -> Recorder | None:
    """Return the recorder of `registry` if a door was made for it."""
    if not isinstance(registry, CollectorRegistry):
        return None
    collector = _collectors.get(registry)
    return None if collector is None else collector.recorder


def _register(registry: CollectorRegistry, schema: Schema, max_series: int) -> Recorder:
    store = MemoryStore()
    recorder = Recorder(store, SeriesSet(store, schema, max_series))
    collector = RequestCollector(recorder)
    try:
        registry.register(collector)
    except ValueError as error:
        raise MetricConflictError(
            f"the registry already has metrics that prom_middleware makes ({error}); remove the "
            "other instrumentation, or give this door a registry of its own: registry=..."
        ) from error
    _collectors[registry] = collector
    return recorder


def _check(existing: Schema, wanted: Schema) -> None:
    for field in ("presets", "bounds", "extra_labels"):
        one, other = getattr(existing, field), getattr(wanted, field)
        if one != other:
            raise MetricConflictError(
                f"another application records in the same registry with {field}={one!r}, this one "
                f"wants {other!r}; use the same, or give this door a registry of its own"
            )
