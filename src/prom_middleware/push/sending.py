"""All attempts of a push, with the pauses between them.

An attempt runs in a thread of its own: name resolution, TLS and servers that answer byte by byte
know no limit of time, but whoever waits for that thread does.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Protocol, TypeVar

from prom_middleware.options import LONGEST_WAIT
from prom_middleware.push.options import Policy
from prom_middleware.push.outcomes import Outcome, of_silence
from prom_middleware.push.results import PushResult

Result = TypeVar("Result")

# Seconds before the first further attempt, doubled for each, at most the second.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0


class Attempt(Protocol):
    """One attempt, which another thread can end; `answered` is what is known before that."""

    answered: Outcome | None

    def run(self) -> Outcome:
        """Return what came of it; never raises."""

    def abort(self) -> None:
        """Have `run` end soon."""


class Sending:
    """One push: `run` in one thread; `stop` from another, if its result is wanted no more."""

    def __init__(self, attempt: Callable[[float | None], Attempt], policy: Policy) -> None:
        self._attempt = attempt
        self._policy = policy
        self._stopped = threading.Event()
        self._current: Attempt | None = None

    def run(self) -> PushResult:
        """Try until it succeeds, or there is no sense, number or time for more."""
        began = time.monotonic()
        end = math.inf if self._policy.deadline is None else began + self._policy.deadline
        number = 0
        while True:
            outcome = self._try(end - time.monotonic())
            number += 1
            if not outcome.again or number > self._policy.retries:
                break
            pause = max(_backoff(number), min(outcome.after, LONGEST_WAIT))
            if time.monotonic() + pause >= end or self._stopped.wait(pause):
                break
        took = time.monotonic() - began
        return PushResult(outcome.ok, outcome.reason, outcome.status, number, took)

    def stop(self) -> None:
        """End the attempt, and make no other one."""
        self._stopped.set()
        if self._current is not None:
            self._current.abort()

    def _try(self, left: float) -> Outcome:
        limit = min(math.inf if self._policy.timeout is None else self._policy.timeout, left)
        seconds = None if limit > LONGEST_WAIT else max(limit, 0.001)
        attempt = self._current = self._attempt(seconds)
        if self._stopped.is_set():  # just now: `stop` may have missed this one
            attempt.abort()
        try:
            running = in_thread(attempt.run)
            wait([running], seconds)
        except BaseException:  # a signal: who waited is gone, the push must not go on
            attempt.abort()
            raise
        if running.done():
            return running.result()
        answered = attempt.answered  # before it is cut off: half a head may look like an answer
        attempt.abort()
        return answered or of_silence(seconds)


def _backoff(number: int) -> float:
    """Return the pause after the `number`th attempt: many jobs must not come back together."""
    longest = min(FIRST_PAUSE * 2 ** min(number - 1, 10), LONGEST_PAUSE)
    return random.uniform(longest / 2, longest)  # noqa: S311 - nobody gains by guessing it


def in_thread(work: Callable[[], Result], *, daemon: bool = True) -> Future[Result]:
    """Return the result to be of `work` in a thread; the interpreter waits for no daemon."""
    future: Future[Result] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()  # from here on nobody can cancel it
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    try:
        threading.Thread(target=run, name="prom_middleware.push", daemon=daemon).start()
    except RuntimeError:  # at the interpreter's end there are no new threads: atexit pushes, too
        run()
    return future
