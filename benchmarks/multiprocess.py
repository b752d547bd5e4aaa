"""Several processes that share their numbers: `python -m benchmarks.multiprocess PART`, as JSON.

Beside the multi-process mode of `prometheus_client`, over real files that real processes wrote.
"""

from __future__ import annotations

import gc
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import prometheus_client.values
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from benchmarks import incs, parts, traffic
from benchmarks.counting import samples
from benchmarks.figures import Figure
from benchmarks.fleet import Fleet, fleet
from benchmarks.limits import BOUNDS
from benchmarks.memory import SPREAD, Dialect
from benchmarks.registries import COUNTERS, DURATION, LABELS, LINES, counts
from benchmarks.rounds import (
    OURS,
    QUICK,
    Case,
    Contender,
    Plan,
    interleaved,
    measure,
    verify,
)
from prom_middleware.exposition.access import ScrapeRequest
from prom_middleware.exposition.scraping import scrape
from prom_middleware.instrumentation import Instrumentation

SHARED = "ours, shared"
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    workers: int = 32
    dead: int = 200
    label_sets: int = 10_000 // LINES
    rounds: int = 9
    dead_rounds: int = 5
    restarts: int = 1_000
    restarting: int = 4  # workers
    restart_rounds: int = 60
    new: int = 500  # label sets in a batch: files grow in each
    new_rounds: int = 18
    incs: int = 20_000  # in a batch
    inc_rounds: int = 40


SMALL = Size(
    workers=2,
    dead=4,
    label_sets=10,
    rounds=2,
    dead_rounds=2,
    restarts=6,
    restarting=2,
    restart_rounds=3,
    new=20,
    new_rounds=2,
    incs=100,
    inc_rounds=2,
)


@contextmanager
def shared(directory: str) -> Iterator[None]:
    """Let what is made meanwhile write to `directory`."""
    os.environ[VARIABLE] = directory
    try:
        yield
    finally:
        del os.environ[VARIABLE]


class Ours:
    """Our middleware's core, and its scrape as a door answers it."""

    def __init__(self, directory: str) -> None:
        self.registry = CollectorRegistry()
        with shared(directory):
            self.core = Instrumentation(
                {"registry": self.registry, "max_series": 1_000_000}, Dialect()
            )

    def begin(self) -> None:
        """Do what a worker does when it starts: nothing."""

    def record(self, route: str, latencies: tuple[float, ...]) -> None:
        """Record requests through the real instrumentation."""
        self.core.store.born = -math.inf  # or they would be taken for those of a parent
        for seconds in latencies:
            observation = self.core.start(route, "POST")
            observation.status = "200"
            observation.promise()
            observation.received, observation.sent = 1500, 70_000
            observation.started -= seconds  # as if it had begun that much earlier
            observation.finish()

    def scrape(self) -> bytes:
        """Return what /metrics answers."""
        response = scrape(self.registry, ScrapeRequest("GET", "/metrics", "", {}, None))
        assert response.status == 200, response
        return response.body


class Theirs:
    """The same four metrics, made with `prometheus_client`; or only a histogram and a counter."""

    def __init__(self, directory: str, counters: int = 3) -> None:
        self.directory = directory
        self._counters = counters
        self.registry = CollectorRegistry()
        MultiProcessCollector(self.registry, directory)

    def begin(self) -> None:
        """Make the metrics; what the package does at import where the variable is set."""
        os.environ[VARIABLE] = self.directory
        prometheus_client.values.ValueClass = prometheus_client.values.get_value_class()
        registry = CollectorRegistry()
        self.duration = Histogram(
            "http_request_duration_seconds", DURATION, LABELS, registry=registry, buckets=BOUNDS
        )
        self.counters = [
            (Counter(name, text, LABELS, registry=registry), amount)
            for name, text, amount in COUNTERS[: self._counters]
        ]

    def record(self, route: str, latencies: tuple[float, ...]) -> None:
        """Record requests."""
        labels = ("POST", route, "200")
        for seconds in latencies:
            self.duration.labels(*labels).observe(seconds)
            for counter, amount in self.counters:
                counter.labels(*labels).inc(amount)

    def scrape(self) -> bytes:
        """Return what its own multi-process mode answers."""
        return generate_latest(self.registry)


def main() -> None:
    """Measure, check what is shown, and print the figures."""
    options = parts.options("multiprocess", "part", PARTS)
    size = SMALL if options.quick else Size()
    plan = QUICK if options.quick else Plan(seconds=options.seconds)
    with TemporaryDirectory(prefix="prom_middleware-bench-") as directory:
        figures = PARTS[options.part](directory, size, plan)
    json.dump({"size": asdict(size), **figures}, sys.stdout)


def scrapes(directory: str, size: Size, plan: Plan) -> dict[str, Any]:
    """Scrape over all workers, at first without any that are dead."""
    ours, theirs = Ours(_made(directory, "ours")), Theirs(_made(directory, "theirs"))
    works = [partial(_fill, each, size.label_sets, SPREAD) for each in (ours, theirs)]
    with fleet() as mine, fleet() as other:
        for workers, work in zip((mine, other), works, strict=True):
            workers.start(size.workers, work)
        alive = _compare(ours, theirs, size.workers, size.rounds)
        for workers, work in zip((mine, other), works, strict=True):
            _replace(workers, size, work)
        dead = _compare(ours, theirs, size.workers + size.dead, size.dead_rounds)
    return {"alive": alive, "dead": dead}


def _fill(each: Ours | Theirs, label_sets: int, latencies: tuple[float, ...]) -> None:
    each.begin()
    for number in range(label_sets):
        each.record(traffic.template(number), latencies)


def _made(directory: str, name: str) -> str:
    path = os.path.join(directory, name)
    os.mkdir(path)
    return path


def _replace(workers: Fleet, size: Size, work: Callable[[], None]) -> None:
    # As a server does it: never more workers than it has places.
    left = size.dead
    while left:
        number = min(left, size.workers)
        workers.kill(number)
        workers.start(number, work)
        left -= number


def _compare(ours: Ours, theirs: Theirs, workers: int, rounds: int) -> dict[str, Any]:
    _check(ours.scrape(), theirs.scrape(), workers * len(SPREAD))
    seconds = interleaved(rounds, ours=ours.scrape, theirs=theirs.scrape)
    return _figures(seconds)


def _figures(values: dict[str, list[float]]) -> dict[str, Any]:
    return {name: asdict(Figure.of(each)) for name, each in values.items()}


def _check(mine: bytes, other: bytes, requests: int) -> None:
    # Buckets and sums depend on how long a worker had to wait in the middle of a request.
    shown = counts(other)
    missing = shown - counts(mine)
    assert not missing, sorted(missing)[:3]
    ends = {line.rpartition(b" ")[2] for line in shown if line.startswith(b"http_requests_total")}
    assert {float(end) for end in ends} == {requests}, ends


def restarts(directory: str, size: Size, plan: Plan) -> dict[str, Any]:
    """Scrape after so many workers were killed, and beside it where none was."""
    fresh, aged = (Ours(_made(directory, name)) for name in ("fresh", "aged"))
    label_sets, path = size.label_sets // 5, Path(directory, "aged")
    with fleet() as calm, fleet() as doomed:
        for workers, ours in ((calm, fresh), (doomed, aged)):
            workers.start(size.restarting, partial(_fill, ours, label_sets, SPREAD[:3]))
        before = _used(path)
        for _ in range(size.restarts):
            doomed.kill(1)
            doomed.start(1, partial(_fill, aged, 5, SPREAD[:3]))
        after = _used(path)
        seconds = interleaved(size.restart_rounds, none=fresh.scrape, restarted=aged.scrape)
    requests = len(SPREAD[:3]) * (size.restarting * label_sets + size.restarts * 5)
    _expect(aged, requests)
    return {**_figures(seconds), "files": {"before": before, "after": after}}


def _expect(each: Ours | Theirs, requests: int) -> None:
    counted = samples(each.registry, "http_requests_total", method="POST", status="200")()
    assert counted == requests, (counted, requests)


def _used(directory: Path) -> dict[str, float]:
    """Return how many files there are, and their bytes: by their length, and on the disk."""
    found = [file.stat() for file in directory.iterdir()]
    return {
        "files": len(found),
        "length": sum(each.st_size for each in found),
        "disk": sum(each.st_blocks * 512 for each in found),
    }


def sizes(directory: str, size: Size, plan: Plan) -> dict[str, Any]:
    """Return what the files of all workers take, for each label set and worker."""
    number = size.label_sets * size.workers
    figures = {}
    for name, make in SIZED.items():
        path = _made(directory, name)
        with fleet() as workers:
            workers.start(size.workers, partial(_fill, make(path), size.label_sets, SPREAD))
        figures[name] = {what: value / number for what, value in _used(Path(path)).items()}
    return {"sizes": figures}


SIZED: dict[str, Callable[[str], Ours | Theirs]] = {
    "ours": Ours,
    "theirs": partial(Theirs, counters=1),
    "theirs, the same metrics": Theirs,
}


def label_sets(directory: str, size: Size, plan: Plan) -> dict[str, Any]:
    """Return what a request of a new label set takes more than the same request again."""
    ours, theirs = Ours(_made(directory, "ours")), Theirs(_made(directory, "theirs"))
    theirs.begin()
    numbers = count()
    added: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(size.new_rounds):
        routes = [traffic.template(next(numbers)) for _ in range(size.new)]
        for name, each in (("ours", ours), ("theirs", theirs)):
            added[name].append(_first(each, routes) / size.new)
    for each in (ours, theirs):
        _expect(each, 2 * size.new * size.new_rounds)
    return _figures(added)


def _first(each: Ours | Theirs, routes: list[str]) -> float:
    gc.collect()
    seconds = []
    for _ in range(2):
        start = process_time()
        for route in routes:
            each.record(route, SPREAD[:1])
        seconds.append(process_time() - start)
    return seconds[0] - seconds[1]


def doors(directory: str, size: Size, plan: Plan) -> dict[str, Any]:
    """Return what a request takes more than with the bare application, alone and shared."""
    cases = {"ASGI": _asgi(directory), "WSGI": _wsgi(directory)}
    measure(list(cases.values()), plan)
    verify(list(cases.values()))
    return {"doors": {name: _added(case) for name, case in cases.items()}}


def _added(case: Case) -> dict[str, Any]:
    return _figures({"bare": case.baseline, **{each.role: each.added for each in case.contenders}})


def _asgi(directory: str) -> Case:
    from benchmarks.doors.asgi import LOOP, raw_app
    from prom_middleware.asgi import PrometheusMiddleware

    def drive(app: Any) -> Callable[[int], float]:
        return traffic.asgi(app, traffic.path(1), LOOP)

    return _case(directory, raw_app, PrometheusMiddleware, drive)


def _wsgi(directory: str) -> Case:
    from benchmarks.doors.wsgi import raw_app
    from prom_middleware.wsgi import PrometheusMiddleware

    def drive(app: Any) -> Callable[[int], float]:
        return traffic.wsgi(app, traffic.path(1))

    return _case(directory, raw_app, PrometheusMiddleware, drive)


def _case(directory: str, make: Any, door: Any, drive: Callable[[Any], Any]) -> Case:
    alone, together = CollectorRegistry(), CollectorRegistry()
    single = door(make(), registry=alone)
    with shared(directory):
        several = door(make(), registry=together)
    contenders = [
        Contender(role, role, drive(app), samples(registry, "http_requests_total", status="200"))
        for role, app, registry in ((OURS, single, alone), (SHARED, several, together))
    ]
    return Case(1, Contender("bare", "bare", drive(make())), contenders)


def user_metrics(directory: str, size: Size, plan: Plan) -> dict[str, Any]:
    """Return what `inc()` of a user's own counter takes."""
    return _figures(incs.measure(directory, size.inc_rounds, size.incs))


PARTS: dict[str, Callable[[str, Size, Plan], dict[str, Any]]] = {
    "doors": doors,
    "label_sets": label_sets,
    "user_metrics": user_metrics,
    "sizes": sizes,
    "restarts": restarts,
    "scrapes": scrapes,
}


if __name__ == "__main__":
    main()
