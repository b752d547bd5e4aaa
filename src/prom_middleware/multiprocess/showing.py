"""Which registries somebody shows: doors, and endpoints for scrapes.

In a store that nobody asked for, only their metrics live. Any other registry may have been made
for one push to a Pushgateway, and what is in it is to count from zero.
"""

from __future__ import annotations

import sys
from weakref import WeakSet

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from prom_middleware import failures

_shown: WeakSet[Collector] = WeakSet((REGISTRY,))


def is_shown(registry: object) -> bool:
    """Tell whether `show` was called with a registry; REGISTRY always is."""
    return registry in _shown


def show(registry: Collector) -> None:
    """Have the metrics of a registry be those of all workers, those that it has already as well."""
    try:
        registry = getattr(registry, "_registry", registry)  # of which it is a selection
        if registry in _shown:
            return
        _shown.add(registry)
        patches = sys.modules.get("prom_middleware.multiprocess.patches")
        if patches is not None:
            patches.take_in(registry)
    except Exception as error:  # anything that collects will do for an endpoint
        failures.report("multiprocess.install", error)
