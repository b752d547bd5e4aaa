"""What went wrong inside our own code: counted, logged once, never raised.

This is the floor that every door stands on: it needs a dictionary, and a lock that a fork renews.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from prom_middleware.forks import in_child

# What ends the process, whosever code it is raised in.
ENDING = (KeyboardInterrupt, SystemExit)

# Re-entrant: a signal handler may fail while the same thread is counting a failure.
_lock = threading.RLock()
_counts: dict[str, float] = {}
_forward: Callable[[str, float], object] | None = None


def count(cause: str) -> bool:
    """Count one failure under `cause`; return whether it is the first of its kind."""
    with _lock:
        first = cause not in _counts
        _counts[cause] = _counts.get(cause, 0.0) + 1.0
        forward = _forward  # with the lock: who is told of it later must not be told now as well
    if forward is not None:
        forward(cause, 1.0)
    return first


def report(cause: str, error: BaseException) -> None:
    """Count one failure under `cause` and log the first of its kind; never raises."""
    try:
        first = count(cause)
        if first:
            # Imported when it is needed: it is the greatest part of what this package would load.
            import logging

            logging.getLogger("prom_middleware").error(
                "prom_middleware failed in %s; requests go on, later failures of this kind are "
                "only counted in prom_middleware_errors_total",
                cause,
                exc_info=(type(error), error, error.__traceback__),
            )
    except Exception:  # noqa: S110 - a logging handler that raises must not reach the request
        pass


@in_child
def _in_child() -> None:
    global _lock
    _lock = threading.RLock()  # a thread that is not in the child may have held it


def counts() -> dict[str, float]:
    """Return how often each cause was reported in this process."""
    with _lock:
        return dict(_counts)


def forward(receive: Callable[[str, float], object]) -> None:
    """Have `receive(cause, number)` told of every failure from now on, and of those until now."""
    global _forward
    with _lock:
        if _forward is not None:
            return
        _forward, known = receive, dict(_counts)
    for cause, number in known.items():
        receive(cause, number)
