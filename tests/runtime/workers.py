"""Forked workers that do as they are told."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Thread
from typing import Any

from prom_middleware import failures
from prom_middleware.runtime.processes import WorkerCollector
from prom_middleware.stores import MemoryStore, Store
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import REQUESTS, add, end, fork

Samples = dict[str, float]
CPU = "process_cpu_seconds_total"
RESTARTS = "prom_middleware_worker_restarts_total"


def scraped(collector: WorkerCollector) -> Samples:
    """Return the samples, by name: none has labels."""
    return {
        sample.name: sample.value for family in collector.collect() for sample in family.samples
    }


def scraped_from(proc: Path, store: Store | None = None) -> Samples:
    """Scrape a store whose one worker is this process, with a /proc of our own."""
    return scraped(WorkerCollector(store or MemoryStore(), str(proc)))


class Worker:
    """A process that has a slot, as seen from its parent."""

    def __init__(self, directory: Path) -> None:
        self._here, there = Pipe()
        self.pid = fork(lambda: _serve(directory, self._here, there))
        there.close()
        assert self("ready") is None

    def __call__(self, command: str, *arguments: Any) -> Any:
        self.ask(command, *arguments)
        return self.answer()

    def ask(self, command: str, *arguments: Any) -> None:
        """Say what to do, and do not wait for it."""
        self._here.send((command, *arguments))

    def answer(self) -> Any:
        """Return what came of it."""
        assert self._here.poll(30)
        return self._here.recv()

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        assert end(self.pid) == -signal.SIGKILL
        self._here.close()


@contextmanager
def at_work(directory: Path, number: int) -> Iterator[list[Worker]]:
    """Start some workers; whoever is in the list at the end is killed."""
    workers = [Worker(directory) for _ in range(number)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()


def _serve(directory: Path, parent: Connection, told: Connection) -> None:
    parent.close()
    store = MultiprocessStore(directory)
    add(store, REQUESTS, ("/",), 1)
    while True:
        command, *arguments = told.recv()
        told.send(COMMANDS[command](store, *arguments))


def _work(store: Store, seconds: float) -> None:
    start = sum(os.times()[:2])
    while sum(os.times()[:2]) < start + seconds:
        sum(range(1000))


def _open_more(store: Store, files: int, threads: int) -> None:
    kept.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(files))
    for _ in range(threads):
        Thread(target=Event().wait, daemon=True).start()


kept: list[int] = []
COMMANDS: dict[str, Any] = {
    "ready": lambda store: None,
    "work": _work,
    "open": _open_more,
    "scrape": lambda store: scraped(WorkerCollector(store)),
    "failures": lambda store: failures.counts(),
}
