"""Gauges that are set while nobody can read what others have removed are not void for that."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from multiprocess.workers import Process, no_descriptors, value
from prom_middleware.multiprocess import patches
from prom_middleware.multiprocess import removals as removals_module
from prom_middleware.stores.multiprocess import MultiprocessStore
from prom_middleware.stores.multiprocess.layout import LOCK
from stores.multiprocess.children import run
from waiting import becomes


@contextmanager
def _locked(directory: str) -> Iterator[None]:
    with open(Path(directory, LOCK)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


UNREAD: dict[str, Callable[[str], AbstractContextManager[None]]] = {
    "locked": _locked,
    "without a descriptor": lambda _: no_descriptors(),
}


@pytest.mark.parametrize("unread", UNREAD)
@pytest.mark.parametrize("removal", [("remove", "a"), ("clear",)], ids=["remove", "clear"])
def test_what_is_set_meanwhile_is_shown_once_it_can_be_read(
    installed: MultiprocessStore, registry: CollectorRegistry, unread: str, removal: tuple[str, ...]
) -> None:
    gauge = Gauge("jobs", "Jobs.", ["kind"], registry=registry, multiprocess_mode="sum")

    def child() -> None:
        gauge.labels("a").set(3)
        other.call(*removal)
        assert value(registry, "jobs", kind="a") is None
        with UNREAD[unread](installed.directory):
            gauge.labels("a").set(7)
            gauge.labels("a").inc()
        assert becomes(lambda: value(registry, "jobs", kind="a"), 8) == 8

    other = Process(lambda: gauge)
    try:
        assert run(child) == 0
    finally:
        other.kill()


def test_it_is_not_tried_again_for_each_write(
    installed: MultiprocessStore, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    gauge = Gauge("jobs", "Jobs.", ["kind"], registry=registry, multiprocess_mode="sum")
    read: list[object] = []

    def extract(*wanted: Any) -> Any:
        read.append(wanted)
        return MultiprocessStore.extract(installed, *wanted)

    def child() -> None:
        gauge.labels("a").set(3)
        other.call("clear")
        with _locked(installed.directory):
            for number in range(50):
                gauge.labels("a").set(number)
        assert len(read) == 1
        removals_module.PAUSE = removals._read_at = 0.0  # it would have ended
        assert becomes(lambda: value(registry, "jobs", kind="a"), 49) == 49

    monkeypatch.setattr(installed, "extract", extract)
    monkeypatch.setattr(removals_module, "PAUSE", 60.0)
    removals = patches._installed.home.removals
    other = Process(lambda: gauge)
    try:
        assert run(child) == 0
    finally:
        other.kill()
