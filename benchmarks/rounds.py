"""The measurement: what a middleware adds to the time of a request, in interleaved rounds."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any

from benchmarks.counting import Count

PROCESSES = 4  # for each door
OURS, TIMER, RECORDER, PASS, PEER = "ours", "bare timer", "bare recorder", "pass-through", "peer"


@dataclass
class Contender:
    """One way of instrumenting an application; `drive(n)` makes n requests and returns seconds."""

    name: str
    role: str
    drive: Callable[[int], float]
    count: Count | None = None
    note: str = ""
    latency: bool = True  # whether it records one: a peer that does not is no measure for us
    driven: int = 0
    added: list[float] = field(default_factory=list)

    def batch(self, size: int) -> float:
        """Return the seconds that a request takes, over `size` of them.

        As many before them are not timed: they fill the caches with this application in the place
        of the one before, as a server's are, which serves no other.
        """
        self.drive(size)
        seconds = self.drive(size)
        self.driven += 2 * size
        return seconds / size


@dataclass
class Case:
    """One application with so many routes, bare and instrumented in every way.

    Before them, so many strangers are tried, see `matching.py`.
    """

    routes: int
    bare: Contender
    contenders: Sequence[Contender]
    strangers: int = 0
    baseline: list[float] = field(default_factory=list)
    batch: int = 0
    rounds: int = 0

    def prepare(self, plan: Plan) -> None:
        """Warm up, and choose the size of the batches by the speed of the bare application."""
        for contender in (self.bare, *self.contenders):
            contender.batch(plan.least_batch)
        seconds = min(self._request(plan.least_batch) for _ in range(5))
        self.batch = min(max(int(plan.batch_seconds / seconds), plan.least_batch), plan.most_batch)

    def _request(self, size: int) -> float:
        # By the clock on the wall: not all that a request does is always counted.
        start = perf_counter()
        self.bare.batch(size)
        return (perf_counter() - start) / (2 * size)

    def round(self, plan: Plan) -> None:
        """Measure every contender that is due, each between two batches of the bare application.

        The mean of the two is what is subtracted, so that a machine that becomes slower or faster
        in between does not show.
        """
        before = self.bare.batch(self.batch)
        self.baseline.append(before)
        for contender in self._due(plan):
            seconds = contender.batch(self.batch)
            after = self.bare.batch(self.batch)
            contender.added.append(seconds - (before + after) / 2)
            before = after
        self.rounds += 1

    def _due(self, plan: Plan) -> Iterator[Contender]:
        """Yield the contenders of a round, in an order that rotates."""
        turn = self.rounds % len(self.contenders)
        for contender in (*self.contenders[turn:], *self.contenders[:turn]):
            if contender.role != PEER or self.rounds % plan.peers_every == 0:
                yield contender


@dataclass(frozen=True)
class Plan:
    """How much is measured, for one door."""

    seconds: float = 40.0
    rounds: int = 600  # at most, for each number of routes and process
    least_rounds: int = 20
    # Peers add many times what we add, so fewer rounds tell as much.
    peers_every: int = 8
    # Short batches: what the machine does beside makes a batch an outlier, and medians drop it.
    batch_seconds: float = 0.002
    least_batch: int = 5
    most_batch: int = 200


QUICK = Plan(seconds=0.2, rounds=4, least_rounds=2, peers_every=2, most_batch=20)


def measure(cases: Sequence[Case], plan: Plan) -> None:
    """Run the rounds of all cases in turns, each for as long as the others."""
    for case in cases:
        case.prepare(plan)
    # What was built so far is no garbage of requests: the collector, which stays on, leaves it out.
    gc.collect()
    gc.freeze()
    spent = {id(case): 0.0 for case in cases}
    deadline = perf_counter() + plan.seconds
    open_cases = list(cases)
    while open_cases:
        case = min(open_cases, key=lambda case: spent[id(case)])
        start = perf_counter()
        case.round(plan)
        end = perf_counter()
        spent[id(case)] += end - start
        over = end > deadline and case.rounds >= plan.least_rounds
        if over or case.rounds >= plan.rounds:
            open_cases.remove(case)


def together(runs: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the cases of a door with the rounds of all processes that have measured it."""
    first, *others = runs
    for run in others:
        for case, more in zip(first, run, strict=True):
            case["rounds"] += more["rounds"]
            case["bare"] += more["bare"]
            for contender, again in zip(case["contenders"], more["contenders"], strict=True):
                contender["added"] += again["added"]
    return first


def interleaved(rounds: int, **called: Callable[[], object]) -> dict[str, list[float]]:
    """Return the seconds of processor time of each call, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in called}
    for number in range(rounds):
        names = list(called) if number % 2 else list(called)[::-1]
        for name in names:
            gc.collect()  # nobody shall clear away what another one has left
            start = process_time()
            called[name]()
            seconds[name].append(process_time() - start)
    return seconds


def verify(cases: Sequence[Case]) -> None:
    """Raise AssertionError unless every contender has counted every request that it was given."""
    expected: dict[Count, int] = defaultdict(int)
    names: dict[Count, str] = {}
    for case in cases:
        for contender in case.contenders:
            if contender.count is not None:
                expected[contender.count] += contender.driven
                names[contender.count] = f"{contender.name}, {case.routes} routes"
            elif contender.role != PASS:
                raise AssertionError(f"{contender.name}: nothing says what it counts")
    for count, requests in expected.items():
        counted = count()
        if counted != requests:
            raise AssertionError(f"{names[count]}: counted {counted} of {requests} requests")
