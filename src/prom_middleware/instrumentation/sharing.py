"""The failures of all processes that share a store: a scrape of one shows those of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prom_middleware import failures
from prom_middleware.stores import Family

if TYPE_CHECKING:
    from prom_middleware.stores import Snapshot, Store

FAILURES = Family("failures", ("cause",), 1)


def share_failures(store: Store) -> None:
    """Count failures in `store` as well, those until now included."""

    def add(cause: str, number: float) -> None:
        try:
            offset = store.allocate(FAILURES, (cause,))
            store.cells[offset] += number
        except Exception:  # noqa: S110 - to report that would end here again
            pass

    failures.forward(lambda cause, number: store.turn.update(add, cause, number))


def failure_counts(store: Store, snapshot: Snapshot) -> Mapping[str, float]:
    """Return how often each cause was reported, in all processes that share `store`."""
    if not store.shared:
        return failures.counts()
    return {cause: number for (cause,), (number,) in snapshot.read(FAILURES)}
