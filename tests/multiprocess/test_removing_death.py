"""A process may be killed at any moment in which it removes series.

For every other worker each label set is then there as it was or is gone, as a whole; what they go
on to count is exact, whether they have heard of the removal or not.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from multiprocess.workers import Process, Samples, samples
from prom_middleware import failures
from prom_middleware.multiprocess import announcing, removals
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import end, fork, killed, run
from stores.multiprocess.deaths import STEPS, Death, at_calls, at_lines

KINDS = ("a", "b")
METRICS: dict[str, tuple[type[Any], dict[str, Any], str, str]] = {
    "remove": (Counter, {}, "inc", "remove"),
    "clear": (Histogram, {"buckets": (1, 2, 3)}, "observe", "clear"),
    "clear gauge": (Gauge, {"multiprocess_mode": "sum"}, "inc", "clear"),
}
ARMS = {"calls": at_calls, "lines": at_lines(removals, announcing)}


class Worker:
    """A process with a metric, whose children it has in hand since before anything was removed."""

    def __init__(self, registry: CollectorRegistry, case: str) -> None:
        make, options, self.update, self.removal = METRICS[case]
        self.metric = make("metric", "M.", ["kind"], registry=registry, **options)
        self.registry = registry

    def count(self) -> None:
        """Count once for each label set."""
        for kind in KINDS:
            getattr(self.metric.labels(kind), self.update)(2.0)

    def remove(self) -> None:
        """Remove one label set, or all."""
        self.metric.remove("a") if self.removal == "remove" else self.metric.clear()

    def remove_and_die(self, arm: str, at: int) -> None:
        """Be killed at step `at` of removing."""
        ARMS[arm](Death(at))
        self.remove()

    def samples(self) -> Samples:
        """Scrape."""
        return samples(self.registry)


# One of them with every version, and measured: removing has no part in what differs between them.
ONLY_HERE = [pytest.mark.once, pytest.mark.no_cover]
MOMENTS = [
    ("remove", "calls"),
    pytest.param("clear", "calls", marks=ONLY_HERE),
    pytest.param("clear gauge", "calls", marks=ONLY_HERE),
    pytest.param("remove", "lines", marks=ONLY_HERE),
    # For a histogram, all lines but one are the same.
    pytest.param("clear gauge", "lines", marks=ONLY_HERE),
]


@pytest.fixture
def pair(
    request: pytest.FixtureRequest, installed: MultiprocessStore, registry: CollectorRegistry
) -> Iterator[tuple[Worker, Process]]:
    here = Worker(registry, request.param)
    there = Process(lambda: here)
    yield here, there
    there.kill()


def counted(once: Samples, times: dict[str, int]) -> Samples:
    """Return what is shown of label sets that were counted so many times."""
    return {
        (name, labels): number * times[dict(labels)["kind"]]
        for (name, labels), number in once.items()
        if times[dict(labels)["kind"]]
    }


def shown(here: Worker, there: Process) -> Samples:
    """Return what both processes show."""
    found = here.samples()
    assert there.call("samples") == found
    return found


@pytest.mark.forks
@pytest.mark.parametrize(("pair", "arm"), MOMENTS, indirect=["pair"])
def test_every_moment_of_removing(arm: str, pair: tuple[Worker, Process]) -> None:
    here, there = pair
    here.count()
    once, before = here.samples(), failures.counts()
    for at in range(1, STEPS):
        there.call("count")
        killed(here.count)
        code = run(lambda at=at: here.remove_and_die(arm, at))
        found = shown(here, there)
        left = {kind for _, labels in found for _, kind in labels if kind in KINDS}
        times = {kind: 3 if kind in left else 0 for kind in KINDS}
        assert found == counted(once, times)
        # Others go on to count, whether they have heard of it or not.
        there.call("count")
        here.count()
        assert shown(here, there) == counted(once, {kind: n + 2 for kind, n in times.items()})
        here.metric.clear()
        assert shown(here, there) == {}
        here.count()
        assert shown(here, there) == once
        assert failures.counts() == before
        if code == 0:
            assert at > 20
            assert left == ({"b"} if here.removal == "remove" else set())
            return
        assert code == -signal.SIGKILL
    pytest.fail("the child never got through")


@pytest.mark.parametrize("pair", ["clear gauge"], indirect=True)
def test_who_looks_while_another_removes_hears_of_the_rest_though_that_one_is_killed(
    pair: tuple[Worker, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = pair
    here.count()
    once = here.samples()
    (heard, tell), (wait, go) = os.pipe(), os.pipe()
    note = removals.Removals._note

    def halt_and_die(*arguments: Any) -> None:
        os.write(tell, b".")
        os.read(wait, 1)
        note(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(removals.Removals, "_note", halt_and_die)
    remover = fork(here.remove)
    monkeypatch.undo()
    os.read(heard, 1)
    there.call("count")
    assert shown(here, there) == counted(once, {"a": 2, "b": 2})
    os.write(go, b".")
    assert end(remover) == -signal.SIGKILL
    there.call("count")
    assert shown(here, there) == counted(once, {"a": 1, "b": 3})
    for fd in (heard, tell, wait, go):
        os.close(fd)
