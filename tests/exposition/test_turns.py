"""Scrapes at the same time: what they share, how many there may be, and when they must end."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count, pairwise
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric

from asking import asked, scraped
from metrics import series, value
from prom_middleware import failures
from prom_middleware.errors import OptionError
from prom_middleware.exposition import ScrapeResponse, make_asgi_app, make_wsgi_app, turns
from prom_middleware.exposition.collecting import runs
from prom_middleware.exposition.options import Limits
from prom_middleware.exposition.scraping import Visit, scrape
from waiting import eventually

# Tells how often another greenlet came to its turn during two scrapes, and their statuses.
GREEN = """
from gevent import monkey
monkey.patch_all({patched})
import gevent
from prometheus_client import REGISTRY, Gauge
from prom_middleware.exposition.access import ScrapeRequest
from prom_middleware.exposition.scraping import scrape

gauge = Gauge("many", "M.", ["number"])
for number in range(20_000):
    gauge.labels(number).set(number)
turns = []

def turn():
    while True:
        turns.append(None)
        gevent.sleep(0)

def status():
    return scrape(REGISTRY, ScrapeRequest("GET", "/metrics", "", {{}}, None)).status

gevent.spawn(turn)
scrapes = [gevent.spawn(status) for _ in range(2)]
gevent.joinall(scrapes)
print(*(one.value for one in scrapes), len(turns) >= 5)
"""


class Held:
    """A collector that waits until it is let go, and counts."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Semaphore(0)
        self.number = 0
        self.at_once = 0
        self._running = 0

    def collect(self) -> Iterable[Metric]:
        self._running += 1
        self.at_once = max(self.at_once, self._running)
        self.number += 1
        self.begun.release()
        number = self.number
        assert self.open.wait(60)
        self._running -= 1
        yield GaugeMetricFamily("held", "Held.", value=number)


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("good", "Good.", registry=registry).set(1)
    return registry


@pytest.fixture
def held(registry: CollectorRegistry) -> Iterator[Held]:
    collector = Held()
    registry.register(collector)
    yield collector
    collector.open.set()


@contextmanager
def running(number: int, call: Callable[[], Any]) -> Iterator[list[Any]]:
    """Have `number` threads call; at the end, wait for them."""
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(call())) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield results
    finally:
        for thread in threads:
            thread.join(60)
    assert len(results) == number


def held_number(response: ScrapeResponse) -> float:
    assert response.status == 200
    return value(series(response.body.decode()), "held")


def test_scrapes_at_the_same_time_share_a_collection(
    registry: CollectorRegistry, held: Held
) -> None:
    with running(1, lambda: scraped(registry)) as first:
        assert held.begun.acquire(timeout=60)
        with running(12, lambda: scraped(registry)) as others:
            held.open.set()
    assert held.at_once == 1
    assert held.number <= 13
    assert held_number(first[0]) == 1
    assert all(held_number(one) > 1 for one in others), "older than the scrape that shows it"


def test_scrapes_at_the_same_time_that_select_other_series_share_no_body(
    registry: CollectorRegistry, held: Held
) -> None:
    def scraped_both() -> list[bytes]:
        both: list[bytes] = []
        with running(1, lambda: both.append(scraped(registry, "match[]=held").body)):
            both.append(scraped(registry, "match[]=good").body)
        return sorted(both, key=lambda body: b"held" in body)

    with running(1, lambda: scraped(registry)):
        assert held.begun.acquire(timeout=60)
        with running(4, scraped_both) as others:
            held.open.set()
    for good, other in others:
        assert (b"good 1.0" in good, b"held" in good) == (True, False)
        assert (b"good" in other, b"held " in other) == (False, True)


def test_no_number_is_older_than_the_scrape(registry: CollectorRegistry) -> None:
    """Each thread raises a gauge and must see at least that, whatever others are doing."""
    gauge = Gauge("raised", "Raised.", registry=registry)
    wrong: list[float] = []

    def raise_and_look() -> None:
        for _ in range(30):
            gauge.inc()
            least = gauge._value.get()
            seen = value(series(scraped(registry).body.decode()), "raised")
            if seen < least:
                wrong.append(seen)

    with running(8, raise_and_look):
        pass
    assert wrong == []


def test_as_many_as_the_limit_says(registry: CollectorRegistry, held: Held) -> None:
    with running(2, lambda: scraped(registry, max_requests_in_flight=2)) as results:
        assert held.begun.acquire(timeout=60)
        refused = [scraped(registry, max_requests_in_flight=2)]
        while refused[-1].status != 503:  # the second may not have come yet
            refused.append(scraped(registry, max_requests_in_flight=2, timeout=0.01))
        held.open.set()
    assert [one.status for one in results] == [200, 200]
    assert refused[-1].body == b"Limit of concurrent requests reached (2), try again later.\n"
    assert scraped(registry, max_requests_in_flight=1).status == 200, "the places are free again"


def test_registries_that_come_and_go_leave_nothing_behind() -> None:
    desk = turns.Desk()
    registries = [CollectorRegistry() for _ in range(20)]
    for registry in registries:
        leave = desk.enter(registry, 1)
        leave()
    assert len(desk._places) == 1, "of the last one"


def test_a_collector_that_hangs_is_left_out_and_not_asked_again(
    registry: CollectorRegistry, held: Held
) -> None:
    before, threads = failures.counts().get("collector.timeout", 0), threading.active_count()
    for _ in range(5):
        response = scraped(registry, timeout=1)
        assert response.status == 200
        assert value(series(response.body.decode()), "good") == 1
        assert b"held" not in response.body
    assert held.number == 1
    assert failures.counts()["collector.timeout"] == before + 5
    assert threading.active_count() <= threads + 1
    held.open.set()
    # What it has at last may still be told to the next one; then it is asked again.
    assert eventually(lambda: scraped(registry), lambda one: b"held 2.0" in one.body).status == 200


class After:
    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("after", "After.", value=1)


def test_others_are_collected_while_one_hangs(registry: CollectorRegistry, held: Held) -> None:
    registry.register(After())
    response = scraped(registry, timeout=3)
    assert value(series(response.body.decode()), "after") == 1


@pytest.mark.usefixtures("held")
def test_who_has_less_time_than_patience_hides_no_others(registry: CollectorRegistry) -> None:
    registry.register(After())
    found = eventually(lambda: scraped(registry, timeout=0.5), lambda one: b"after" in one.body)
    assert b"after 1.0" in found.body


def test_a_scrape_that_is_interrupted_takes_no_collector_along(
    registry: CollectorRegistry, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, interrupts = runs._start_thread, [KeyboardInterrupt()]

    def interrupted(*arguments: Any) -> None:
        if interrupts:
            raise interrupts.pop()
        start(*arguments)

    held.open.set()
    monkeypatch.setattr(runs, "_start_thread", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scraped(registry)
    assert held_number(scraped(registry)) > 0


def test_a_slow_collector_is_waited_for(registry: CollectorRegistry, held: Held) -> None:
    timer = threading.Timer(1.3, held.open.set)  # longer than anybody is patient with it
    timer.start()
    assert held_number(scraped(registry)) == 1
    timer.join()


def test_nothing_is_waited_for_that_has_ended(
    registry: CollectorRegistry, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever patrols in vain would do so for as long as the test may take."""
    monkeypatch.setattr(turns, "PATROL", 3600.0)
    held.open.set()  # a thread collects that one, and wakes whoever waits for it
    for number in range(1, 200):
        assert held_number(scraped(registry)) == number


def test_with_http_error_a_collector_that_hangs_is_a_500(
    registry: CollectorRegistry, held: Held
) -> None:
    # Long enough for a busy machine to have the rest by then.
    response = scraped(registry, timeout=2, error_handling="http_error")
    assert response.status == 500
    assert b"test_turns.Held has not come back in time" in response.body


@pytest.mark.once
def test_who_selects_what_takes_long_holds_nobody_else_up(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.05)
    gauge = Gauge("many", "Many.", ["n"], registry=registry)
    for number in range(300):
        gauge.labels("a" * 60 + str(number))
    hard = "&".join(f"match[]={{n=~'(.?){{{400 - each}}}a.*b'}}" for each in range(12))
    done: list[str] = []
    begun = threading.Event()

    def long() -> None:
        begun.set()
        assert scraped(registry, query=hard, timeout=60).status == 200
        done.append("long")

    with running(1, long):
        assert begun.wait(60)
        for _ in range(3):
            assert scraped(registry).status == 200
            done.append("short")
    assert done == ["short", "short", "short", "long"]


def test_the_time_ends_the_work() -> None:
    class Endless:
        """A registry without an end."""

        def collect(self) -> Iterable[Metric]:
            number = 0
            while True:
                number += 1
                yield GaugeMetricFamily(f"g{number}", "G.", value=1)

    begun = perf_counter()
    response = scraped(Endless(), timeout=0.3)
    assert response.status in (500, 503)
    assert perf_counter() - begun < 30


def test_a_rendering_that_takes_too_long_is_a_503(registry: CollectorRegistry) -> None:
    gauge = Gauge("many", "Many.", ["n"], registry=registry)
    for number in range(20_000):
        gauge.labels(str(number))
    response = scraped(registry, query="match[]={n=~'1.*'}", timeout=0.000_1)
    assert (response.status, response.body) == (503, b"Exceeded configured timeout of 0.0001s.\n")


@pytest.mark.parametrize(
    ("header", "timeout", "seconds"),
    [
        (None, None, 10),
        (None, 3, 3),
        ("10", None, 9.5),
        ("10.000000", 3, 3),
        ("2", 3, 1.5),
        ("0.5", None, 0.25),
        ("1e9", None, 300),
        ("1e9", 1000, 1000),
        *((bad, None, 10) for bad in ("", "x", "-1", "0", "nan", "inf")),
    ],
)
def test_how_long_a_scrape_may_take(
    header: str | None, timeout: float | None, seconds: float
) -> None:
    headers = {} if header is None else {"X_Prometheus_Scrape_Timeout_Seconds": header}
    limits = Limits.from_options({"timeout": timeout})
    assert limits.seconds(asked(**headers).headers) == seconds


@pytest.mark.parametrize(
    "options",
    [
        {"max_requests_in_flight": -1},
        {"max_requests_in_flight": True},
        {"timeout": 0},
        {"timeout": "10"},
        {"error_handling": "panic"},
        {"error_handing": "continue"},
        {"disable_compression": "no"},
        {"disable_compression": None},
    ],
)
@pytest.mark.parametrize("make", [make_asgi_app, make_wsgi_app])
def test_wrong_options_are_refused(make: Any, options: Any) -> None:
    ((name, _),) = options.items()
    with pytest.raises(OptionError, match=name):
        make(CollectorRegistry(), **options)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_while_a_scrape_is_made_leaves_the_child_free(
    registry: CollectorRegistry, held: Held
) -> None:
    import os

    with running(1, lambda: scraped(registry)):
        assert held.begun.acquire(timeout=60)
        child = os.fork()
        if child == 0:
            held.open.set()
            os._exit(0 if scrape(registry, asked()).status == 200 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        held.open.set()


@pytest.mark.once
@pytest.mark.parametrize(
    ("patched", "told"), [("", "200 200 True"), ("thread=False", "200 200 False")]
)
def test_greenlets_have_their_turns_while_a_scrape_is_made(patched: str, told: str) -> None:
    """Not where one that waits for the other would keep it from going on."""
    pytest.importorskip("gevent", reason="gevent is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GREEN.format(patched=patched)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == told


def test_who_is_ended_amid_a_scrape_leaves_no_work_to_others(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a greenlet is by its own time limit: while another has its turn."""

    class Ended(BaseException):
        pass

    def end(_: float) -> None:
        raise Ended

    many = Gauge("many", "M.", ["number"], registry=registry)
    for number in range(5000):
        many.labels(number).set(number)
    monkeypatch.setattr(turns.time, "sleep", end)
    with pytest.raises(Ended):
        Visit(registry, None, gentle=True).answer(asked, None)
    monkeypatch.undo()
    assert all(generation.ended for generation in turns.desk._generations)
    assert scraped(registry).status == 200
    assert turns.desk._generations == []


def test_a_scrape_beside_busy_greenlets_works_for_as_long_as_it_gave_way(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    gauge = Gauge("many", "Many.", ["n"], registry=registry)
    for number in range(20_000):
        gauge.labels(str(number))
    gaps: list[tuple[float, float]] = []
    begun, looks = perf_counter(), count()

    def clock() -> float:  # a millisecond from look to look, however fast the machine is
        return begun + next(looks) * 0.001 + 0.05 * len(gaps)

    def sleep(_: float) -> None:
        began = clock()
        gaps.append((began, began + 0.05))

    monkeypatch.setattr(turns, "is_green", lambda: True)
    monkeypatch.setattr(turns, "perf_counter", clock)
    monkeypatch.setattr(turns, "time", SimpleNamespace(sleep=sleep))
    assert scraped(registry).status == 200
    worked = [began - ended for (_, ended), (began, _) in pairwise(gaps)]
    assert len(worked) > 3, worked
    assert min(worked) >= 0.05
