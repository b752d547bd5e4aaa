"""What a push came to: for its caller, the log and the counters."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from prom_middleware import failures


class PushResult(NamedTuple):
    """What a push came to; it is true if the gateway took it."""

    ok: bool
    # Why not, for a person to read.
    reason: str
    # The last answer's, if there was one.
    status: int | None
    attempts: int
    # How long it took, pauses included.
    seconds: float

    def __bool__(self) -> bool:
        return self.ok


def refused(error: BaseException) -> PushResult:
    """Return the result of a push that was never sent."""
    return PushResult(False, f"{type(error).__name__}: {error}", None, 0, 0.0)


def told(result: PushResult, where: str) -> PushResult:
    """Return `result`; if it failed, log and count it first. Never raises."""
    if not result.ok:
        with suppress(Exception):  # a logging handler that raises must not reach the job
            failures.count("push")
            _log(result, where)
    return result


def _log(result: PushResult, where: str) -> None:
    import logging  # a program whose pushes succeed never needs it

    logging.getLogger("prom_middleware").warning(
        "prom_middleware could not push to %s: %s (attempts: %d, seconds: %.1f)",
        where,
        result.reason,
        result.attempts,
        result.seconds,
    )
