"""After a fork, every store of the child begins without a slot.

Where a server forks by itself and tells nobody, `check_process` of a store does the same.
"""

from __future__ import annotations

from typing import Protocol
from weakref import WeakSet

from prom_middleware import failures
from prom_middleware.forks import in_child


class Forkable(Protocol):
    """What wants to know that it is in a child."""

    def forked(self) -> None:
        """Give up what belongs to the parent."""
        ...


_stores: WeakSet[Forkable] = WeakSet()


def watch(store: Forkable) -> None:
    """Have `store.forked()` called in every child, for as long as somebody uses it."""
    _stores.add(store)


@in_child
def _in_child() -> None:
    for store in list(_stores):
        try:
            store.forked()
        except Exception as error:
            failures.report("store", error)
