"""At the end of a process, its stores write down what they have in memory.

A job that lives for less than a second may find the directory's lock taken when it first counts,
and nothing is tried again that soon for the sake of a request.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Protocol
from weakref import WeakSet

from prom_middleware import failures
from prom_middleware.stores.turn import Turn


class Concluding(Protocol):
    """What may have something in memory."""

    turn: Turn

    def conclude(self) -> None:
        """Write it down; the turn is the caller's."""
        ...


_stores: WeakSet[Concluding] = WeakSet()
_watched_by = 0  # the process


def watch(store: Concluding) -> None:
    """Have `store.conclude()` called at the end of this process, for as long as it is used."""
    global _watched_by
    _stores.add(store)
    if _watched_by == os.getpid():
        return
    _watched_by = os.getpid()
    atexit.register(_conclude)
    # Its children leave without what `atexit` knows, before Python 3.13 or so.
    finalize = getattr(sys.modules.get("multiprocessing.util"), "Finalize", None)
    if finalize is not None:
        finalize(None, _conclude, exitpriority=0)


def _conclude() -> None:
    stores = list(_stores)
    for store in stores:
        try:
            store.turn.read(store.conclude)
        except Exception as error:
            failures.report("store", error)
    # Once, also where that failed: who is called second would wait for the same lock.
    _stores.difference_update(stores)
