"""The file by which workers hear of removals: another one, or a descriptor that is not ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge

from multiprocess.workers import Process, value
from prom_middleware.multiprocess import announcing
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import run


class Worker:
    def __init__(self, gauge: Gauge) -> None:
        self.gauge = gauge

    def set(self, number: float) -> None:
        self.gauge.labels("a").set(number)


def test_a_daemon_does_not_take_others_files_for_its_own(
    installed: MultiprocessStore, registry: CollectorRegistry, tmp_path: Path
) -> None:
    gauge = Gauge("queue", "Jobs.", ["kind"], "", "", "", registry, None, "max")
    gauge.labels("a").set(1)

    def daemon() -> None:
        os.closerange(3, 1000)
        files = [(tmp_path / str(number)).open("wb+", buffering=0) for number in range(20)]
        for file in files:
            file.write(b"somebody else's")
            file.seek(0)
        gauge.labels("a").set(2)
        gauge.labels("b").set(2)
        assert {os.lseek(file.fileno(), 0, os.SEEK_CUR) for file in files} == {0}

    assert run(daemon) == 0
    assert value(registry, "queue", kind="b") == 2


@pytest.mark.parametrize("removals_before", [0, 1])
def test_what_is_set_after_the_file_was_deleted_is_shown(
    removals_before: int,
    installed: MultiprocessStore,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(announcing, "BETWEEN_LOOKS", -1.0)
    gauge = Gauge("queue", "Jobs.", ["kind"], "", "", "", registry, None, "max")
    gauge.labels("a").set(1)
    there = Process(lambda: Worker(gauge))
    try:
        for _ in range(removals_before):
            gauge.remove("a")
        there.call("set", 2)
        (Path(installed.directory) / announcing.REMOVALS).unlink()

        gauge.remove("a")
        assert value(registry, "queue", kind="a") is None
        there.call("set", 3)

        assert value(registry, "queue", kind="a") == 3
    finally:
        there.kill()
