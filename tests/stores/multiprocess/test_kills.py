"""Real processes, really killed while they record: no counter falls, nothing is lost."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from threading import Thread
from time import sleep

import pytest

from prom_middleware import failures
from prom_middleware.stores import Family, Settlement
from prom_middleware.stores.multiprocess import MultiprocessStore
from prom_middleware.stores.multiprocess import store as store_module
from stores.multiprocess.children import LIVE, add, end, fork, read, run, vectors

# Begun, answered, lost.
REQUESTS = Family("requests", ("route",), 3, settlement=Settlement(0, (1, 2), 2))
WORKERS, KILLS = 4, 60


def work(store: MultiprocessStore, told: int) -> None:
    """Record requests until killed, and write a byte after each."""
    for number in range(10_000_000):
        labels = (str(number % 50),)
        add(store, LIVE, (), 1)
        add(store, REQUESTS, labels, 1)
        add(store, REQUESTS, labels, 0, 1)
        add(store, LIVE, (), -1)
        os.write(told, b".")


@pytest.mark.forks
def test_no_counter_falls_and_nothing_is_lost_while_workers_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a busy machine has wait for the lock for longer goes to memory, and with the worker.
    monkeypatch.setattr(store_module, "HURRY", 30.0)
    store = MultiprocessStore(tmp_path)
    before = failures.counts()
    heard, told = os.pipe()
    answered = 0

    def listen() -> None:
        nonlocal answered
        while received := os.read(heard, 65536):
            answered += len(received)

    listener = Thread(target=listen)
    workers = [fork(lambda: work(store, told)) for _ in range(WORKERS)]
    listener.start()
    dice = random.Random(1)
    last: dict[tuple[str, ...], list[float]] = {}
    for _ in range(KILLS):
        sleep(dice.random() * 0.02)
        victim = workers.pop(dice.randrange(WORKERS))
        os.kill(victim, signal.SIGKILL)
        end(victim)
        workers.append(fork(lambda: work(store, told)))
        found = read(store, REQUESTS)
        for labels, block in last.items():
            assert all(now >= then for now, then in zip(found[labels], block, strict=True))
        last = found
        assert 0 <= sum(block[0] for block in read(store, LIVE).values()) <= WORKERS
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        end(worker)
    os.close(told)
    listener.join(30)
    os.close(heard)
    begun, kept, lost = map(sum, zip(*read(store, REQUESTS).values(), strict=True))
    assert answered <= kept <= answered + KILLS + WORKERS
    assert begun == kept + lost
    assert lost <= KILLS + WORKERS
    assert read(store, LIVE) == {(): [0.0]}
    assert len(vectors(tmp_path)) <= WORKERS
    assert failures.counts() == before


def test_processes_that_begin_at_once_agree_on_one_dictionary(tmp_path: Path) -> None:
    gate, go = os.pipe()

    def begin(number: int) -> None:
        os.close(go)
        os.read(gate, 1)
        store = MultiprocessStore(tmp_path / "metrics")
        for route in range(30):
            add(store, REQUESTS, (str(route),), 1)
            add(store, REQUESTS, (f"{number}-{route}",), 1)

    children = [fork(lambda number=number: begin(number)) for number in range(8)]
    os.close(go)
    assert [end(child) for child in children] == [0] * 8
    os.close(gate)
    found = read(MultiprocessStore(tmp_path / "metrics"), REQUESTS)
    assert [found[str(route),][0] for route in range(30)] == [8.0] * 30
    assert len(found) == 30 + 8 * 30


def test_a_fork_while_threads_record_gives_the_child_a_slot_of_its_own(tmp_path: Path) -> None:
    store = MultiprocessStore(tmp_path)
    stop = False

    def record() -> None:
        number = 0
        while not stop:
            number += 1
            store.turn.update(add, store, REQUESTS, (str(number % 500),), 1, 1)

    threads = [Thread(target=record) for _ in range(8)]
    for thread in threads:
        thread.start()

    def child() -> None:
        for number in range(100):
            store.turn.update(add, store, REQUESTS, (f"child-{number}",), 1, 1)
        taken = store.snapshot()
        found = [block for labels, block in taken.read(REQUESTS) if labels[0].startswith("child")]
        assert len(found) == 100
        assert all(block[0] >= 1 for block in found)

    try:
        assert [run(child) for _ in range(5)] == [0] * 5
    finally:
        stop = True
        for thread in threads:
            thread.join(30)
    found = read(store, REQUESTS)
    assert [found[f"child-{number}",][0] for number in range(100)] == [5.0] * 100
    assert all(begun == kept for begun, kept, _ in found.values())


def test_a_fork_while_a_dead_slot_is_read_leaves_it_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(lambda: add(MultiprocessStore(tmp_path), LIVE, (), 7))
    store, pread, children = MultiprocessStore(tmp_path), os.pread, []
    assert read(store, LIVE) == {(): [0.0]}

    def fork_and_read(fd: int, length: int, offset: int) -> bytes:
        if not children:
            children.append(fork(lambda: sleep(60)))
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", fork_and_read)
    read(store, LIVE)
    monkeypatch.undo()
    assert [worker.live for worker in store.snapshot().workers] == [False]
    assert read(store, LIVE) == {(): [0.0]}
    os.kill(children[0], signal.SIGKILL)
    end(children[0])
