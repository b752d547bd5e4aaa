"""The floor that every door stands on."""

from __future__ import annotations

import os
import signal
import threading

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
