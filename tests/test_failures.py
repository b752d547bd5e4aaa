"""The floor that every door stands on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from prom_middleware import failures

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_child_that_was_forked_while_another_thread_reports_can_report() -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with failures._lock:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    child = os.fork()
    if not child:
        signal.alarm(10)
        failures.report("fork", ValueError())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


class Meanwhile:
    """A lock, and what another thread does as soon as it is given back."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._lock = threading.RLock()
        self._do: list[Callable[[], object]] = [do]

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        while self._do:
            self._do.pop()()


@pytest.mark.parametrize("first", ["count", "forward"])
def test_a_failure_while_somebody_begins_to_listen_is_told_once(
    first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    steps = {
        "count": lambda: failures.count("meanwhile"),
        "forward": lambda: failures.forward(lambda cause, _: told.append(cause)),
    }
    begin, (then,) = steps.pop(first), steps.values()
    monkeypatch.setattr(failures, "_counts", {"before": 2.0})
    monkeypatch.setattr(failures, "_forward", None)
    monkeypatch.setattr(failures, "_lock", Meanwhile(then))
    begin()
    assert sorted(told) == ["before", "meanwhile"]
