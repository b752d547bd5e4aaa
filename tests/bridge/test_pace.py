"""How much a listener works before it rests, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from prom_middleware.bridge import pace
from prom_middleware.bridge.pace import LEAST_SHARE, LONGEST_REST, SHARE, SLICE, Pace

# Seconds for one of work.
REST, LONGER_REST = (1 - SHARE) / SHARE, (1 - LEAST_SHARE) / LEAST_SHARE


class Clock(SimpleNamespace):
    now: float
    rested: list[float]

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.rested.append(seconds)
        self.now += seconds

    def work(self, paced: Pace, seconds: float, for_nothing: float = 0.0) -> None:
        self.now += seconds
        paced.pause(for_nothing)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock(now=100.0, rested=[])
    monkeypatch.setattr(pace, "time", clock)
    return clock


def test_it_rests_by_how_long_it_has_worked(clock: Clock) -> None:
    paced = Pace()
    for _ in range(100):
        clock.work(paced, SLICE * 0.6)
    assert clock.rested == pytest.approx([SLICE * 1.2 * REST] * 50)


def test_a_wait_is_as_good_as_a_rest(clock: Clock) -> None:
    paced = Pace()
    for _ in range(100):
        clock.work(paced, SLICE * 0.9)
        clock.now += SLICE * REST
        paced.begin()
    assert clock.rested == []


def test_work_that_waited_for_others_is_followed_by_more_rest_within_a_limit(clock: Clock) -> None:
    paced = Pace()
    clock.work(paced, 0.005)
    clock.work(paced, 10)
    assert clock.rested == pytest.approx([0.005 * REST, LONGEST_REST])


def test_what_was_for_nothing_leaves_more_time_to_others(clock: Clock) -> None:
    paced = Pace()
    clock.work(paced, SLICE, 1.0)
    clock.work(paced, SLICE, 0.5)
    assert clock.rested == pytest.approx([SLICE * LONGER_REST, SLICE * (REST + LONGER_REST) / 2])
