"""At the end of a process, its stores write down what they have in memory.

A job that lives for less than a second may find the directory's lock taken when it first counts,
and nothing is tried again that soon for the sake of a request. An ASGI server tells of its end
before that, if the application has a lifespan: uvicorn then ends by the signal that it got, and
calls nobody.
"""

from __future__ import annotations

import atexit
import os
import sys
from functools import partial
from typing import Any, Protocol
from weakref import WeakSet

from prom_middleware import failures
from prom_middleware.stores.turn import Turn


class Concluding(Protocol):
    """What may have something in memory."""

    turn: Turn

    def conclude(self, hurry: bool) -> None:
        """Write it down, soon or not at all where there is a `hurry`; the turn is the caller's."""
        ...


_stores: WeakSet[Concluding] = WeakSet()
_renewed: WeakSet[Concluding] = WeakSet()  # of which multiprocessing tells us after a fork
_watched_by = 0  # the process
_finalizer: Any = None  # multiprocessing's


def watch(store: Concluding) -> None:
    """Have `store.conclude()` called at the end of this process, for as long as it is used."""
    global _watched_by
    _stores.add(store)
    if _watched_by != os.getpid():
        _watched_by = os.getpid()
        atexit.register(_at_exit)
    util: Any = sys.modules.get("multiprocessing.util")
    if hasattr(util, "Finalize"):  # not where another thread just imports it
        _watch_child(util)
        if store not in _renewed:
            _renewed.add(store)
            # Children of a `forkserver` import the program before they forget what is registered.
            util.register_after_fork(store, watch)


def _watch_child(util: Any) -> None:
    """Have a child of multiprocessing conclude: before Python 3.13 it leaves without `atexit`."""
    global _finalizer
    if _is_child() and (_finalizer is None or not _finalizer.still_active()):
        _finalizer = util.Finalize(None, _at_exit, exitpriority=0)


def _is_child() -> bool:
    parent = getattr(sys.modules.get("multiprocessing.process"), "parent_process", None)
    return parent is not None and parent() is not None


def _at_exit() -> None:
    # Somebody waits for a child of multiprocessing, maybe within a request.
    conclude(hurry=_is_child())


def conclude(hurry: bool) -> None:
    """Have each store that is watched write down what it has in memory."""
    stores = list(_stores)
    for store in stores:
        try:
            store.turn.read(partial(store.conclude, hurry))
        except Exception as error:
            failures.report("store", error)
        except KeyboardInterrupt:  # whoever presses the key does not want to wait
            break
    # Once, also where that failed: who is called second would wait for the same lock.
    _stores.difference_update(stores)
