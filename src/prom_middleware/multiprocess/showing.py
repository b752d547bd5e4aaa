"""Which registries are shown by something of ours: a door, an endpoint for scrapes, a bridge.

In a store that nobody asked for, only their metrics live. Any other registry may have been made
for one push to a Pushgateway, and what is in it is to count from zero.
"""

from __future__ import annotations

import sys
from threading import RLock
from weakref import WeakSet

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.registry import Collector

from prom_middleware import failures
from prom_middleware.forks import in_child
from prom_middleware.multiprocess import inherited
from prom_middleware.stores.shared import may_share

PATCHES = "prom_middleware.multiprocess.patches"  # has `install`
_shown: WeakSet[Collector] = WeakSet((REGISTRY,))


@in_child
def _in_child() -> None:
    # Held for as long as a new collector says what it has: a database may be asked for that.
    for registry in list(_shown):
        if hasattr(registry, "_lock"):
            registry._lock = RLock()
    # It takes time and memory where there are many series: only where somebody may ask for it.
    if may_share() or PATCHES in sys.modules:
        inherited.note(list(_shown))


def collectors_of(registry: CollectorRegistry) -> list[Collector]:
    """Return what is registered."""
    with registry._lock:
        return list(registry._collector_to_names)


def is_shown(registry: object) -> bool:
    """Tell whether a registry was noted; REGISTRY always is."""
    return registry in _shown


def shown() -> list[Collector]:
    """Return the registries that were noted, and are still there."""
    return list(_shown)


def note_shown(registry: Collector) -> None:
    """Have the metrics of a registry be those of all workers, those that it has already as well."""
    try:
        while hasattr(registry, "_registry"):  # of which it is a selection, or with files
            registry = registry._registry
        if not isinstance(registry, CollectorRegistry) or registry in _shown:
            return  # anything that collects will do for an endpoint
        _shown.add(registry)
        patches = sys.modules.get(PATCHES)
        if patches is not None:
            patches.take_in(registry)
    except Exception as error:
        failures.report("multiprocess.install", error)
