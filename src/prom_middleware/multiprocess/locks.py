"""The locks of metrics with labels, which `labels()` holds while it makes a child.

Here a child has its place in files before that is done, and at each look at one of them other
threads run: to fork while one of them makes a child is no rare thing then. Nobody would ever give
the lock back in the forked process, whose requests would hang. Nor may whoever has it wait for
himself, in a signal handler or a finalizer that records.
"""

from __future__ import annotations

from threading import RLock
from typing import Any
from weakref import WeakSet

from prom_middleware.forks import in_child

_guarded: WeakSet[Any] = WeakSet()


def guard(metric: Any) -> None:
    """Have the lock of a metric with labels be free in every child process, and re-entrant."""
    # Who still waits for the other one may make a child twice: both have the same cells.
    with metric._lock:
        metric._lock = RLock()
    _guarded.add(metric)


@in_child
def _in_child() -> None:
    for metric in list(_guarded):
        metric._lock = RLock()
