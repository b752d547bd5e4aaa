"""A snapshot is settled once, by whichever thread, and each process settles its own."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from prom_middleware.stores import Family, Settlement
from prom_middleware.stores.multiprocess import MultiprocessStore, snapshot
from prom_middleware.stores.multiprocess.takeover import bury
from stores.multiprocess.children import add, killed, read, run

OPEN = Family("open", (), 3, settlement=Settlement(0, (1,), 2))
SETTLED = {(): [3.0, 2.0, 1.0]}
# Seconds after which a child that hangs is ended.
HANGS = 5


@pytest.fixture
def left_open(store: MultiprocessStore) -> MultiprocessStore:
    store.close()
    killed(lambda: add(store, OPEN, (), 3, 2))
    return store


def test_a_child_that_is_forked_while_another_thread_settles(
    left_open: MultiprocessStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, begun, over = os.getpid(), threading.Event(), threading.Event()

    def slowly(*arguments: Any) -> None:
        if os.getpid() == parent:
            begun.set()
            over.wait()
        bury(*arguments)

    def child() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(HANGS)
        assert read(left_open, OPEN) == SETTLED

    monkeypatch.setattr(snapshot, "bury", slowly)
    thread = threading.Thread(target=read, args=(left_open, OPEN))
    thread.start()
    begun.wait()
    try:
        assert run(child) == 0
    finally:
        over.set()
        thread.join()


def test_two_threads_settle_a_snapshot_once(
    left_open: MultiprocessStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = left_open.snapshot()
    other = threading.Thread(target=lambda: list(taken.read(OPEN)))

    def interrupted(*arguments: Any) -> None:
        if not other.ident:
            other.start()
            other.join(0.2)  # it waits for us, or has done the same
        bury(*arguments)

    monkeypatch.setattr(snapshot, "bury", interrupted)
    assert dict(taken.read(OPEN)) == SETTLED
    other.join()
