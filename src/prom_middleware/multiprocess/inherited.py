"""What a process had counted before it was forked: each child has it, and one of them brings it.

What a child counts by itself, until its metrics are in a store, each child brings. The two are told
apart by a note that a child makes when it is forked; where this package is imported later than
that, or a registry is shown later, all that a child has counts as its own. Of what several
generations have counted that have no store, the first one to bring anything brings its part alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.values import MutexValue

from prom_middleware import failures
from prom_middleware.multiprocess.kinds import ADDITIVE, FAMILY

# A process and all that descend from it, as they name what the first one had counted.
ROOT = f"{os.getpid()} {time.time()!r}"
NOTE = "_inherited"


def note(registries: Iterable[Any]) -> None:
    """Note on each value how much of it was inherited; to be called in a child, before it counts.

    It takes no lock: a thread that is not in the child may have held it.
    """
    try:
        for registry in registries:
            for metric in list(getattr(registry, "_collector_to_names", ())):
                if _is_to_be_noted(metric):
                    _note_all(metric)
    except Exception:
        failures.count("multiprocess.install")  # not logged: who logs may have held a lock


def _is_to_be_noted(metric: Any) -> bool:
    # A gauge is another one in each process; what is in a store is inherited by nobody.
    is_additive = isinstance(metric, MetricWrapperBase) and metric._type in ADDITIVE
    return is_additive and FAMILY not in vars(metric)


def _note_all(metric: Any) -> None:
    for child in (metric, *list(getattr(metric, "_metrics", {}).values())):
        own = vars(child)
        for value in (*own.values(), *own.get("_buckets", ())):
            if type(value) is MutexValue and value._value:
                vars(value)[NOTE] = value._value


def take_note(value: Any) -> float:
    """Return how much of a value was inherited, and forget it."""
    return float(vars(value).pop(NOTE, 0.0))
