"""A snapshot is settled once, by whichever thread, and each process settles its own."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from prom_middleware.stores import Family, MemoryStore, Settlement
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


class Meddling(Family):
    """A family that is made anew beside whenever somebody looks it up, as a door's may be."""

    store: Any = None

    def __hash__(self) -> int:
        if self.store is not None:
            self.store.offsets(Family(f"made {len(made)}", (), 1))
            made.append(self.name)
        return super().__hash__()


made: list[str] = []


@pytest.mark.parametrize("kind", ["memory", "files", "private"])
def test_a_door_may_be_made_while_a_snapshot_is_taken(kind: str, tmp_path: Path) -> None:
    store: Any = MemoryStore() if kind == "memory" else MultiprocessStore(tmp_path / "metrics")
    if kind == "private":
        (tmp_path / "metrics").write_text("no directory")
    made.clear()
    family, other = Meddling("requests", (), 1), Family("other", (), 1)
    for each in (family, other):
        store.cells[store.allocate(each, ())] += 1
    family.store = store
    taken = store.snapshot()
    family.store = None
    assert made
    assert list(taken.read(family)) == list(taken.read(other)) == [((), [1.0])]
