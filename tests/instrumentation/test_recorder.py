"""Updates are exact, whoever records: threads, signal handlers, finalizers, all at once."""

from __future__ import annotations

import gc
import math
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from clocks import Clock
from instrumentation.driver import core, record
from metrics import Series, collected, in_progress, value
from prom_middleware.instrumentation import (
    DISCONNECT,
    ERROR,
    INCOMPLETE,
    Instrumentation,
    status_label,
)

THREADS = 32
EACH = 200


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def fast_switching() -> Iterator[None]:
    """Have threads take turns as often as the interpreter can, so that they meet."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def in_threads(work: Callable[[int], None], number: int = THREADS) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(number)

    def run(index: int) -> None:
        try:
            barrier.wait(30)
            work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert not errors
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.timeout(300)  # a minute on a quiet machine: the threads meet as often as they can
@pytest.mark.usefixtures("fast_switching")
@pytest.mark.no_cover
def test_totals_are_exact_under_threads(registry: CollectorRegistry) -> None:
    instrumentation = core(registry)

    def work(index: int) -> None:
        for number in range(EACH):
            observation = instrumentation.start({"route": f"/{number % 7}"}, "GET")
            observation.status = "200" if index % 2 else "404"
            observation.sent, observation.received = 3, 2
            if number % 5:
                observation.finish()
            else:
                observation.failed(ValueError())

    in_threads(work)
    samples, total = collected(registry), THREADS * EACH
    assert value(samples, "http_requests_total") == total
    assert value(samples, "http_requests_total", {"status": "404"}) == total / 2
    assert value(samples, "http_request_duration_seconds_count") == total
    assert value(samples, "http_response_body_bytes_total") == total * 3
    assert value(samples, "http_request_body_bytes_total") == total * 2
    assert value(samples, "http_request_exceptions_total") == total / 5
    assert value(samples, "http_responses_aborted_total", {"reason": "error"}) == total / 5
    assert value(samples, "http_requests_in_progress") == 0


def test_every_scrape_taken_meanwhile_agrees_with_itself(registry: CollectorRegistry) -> None:
    instrumentation = core(registry)
    stop = threading.Event()
    counts: list[float] = []

    def work(index: int) -> None:
        if index:
            while not stop.wait(0.0005):
                for _ in range(20):
                    record(instrumentation)
            return
        deadline = time.monotonic() + 30
        try:
            while (len(counts) < 25 or not counts[-1]) and time.monotonic() < deadline:
                counts.append(_agreed(collected(registry)))
        finally:
            stop.set()

    in_threads(work, 6)
    assert counts == sorted(counts)
    assert counts[-1] > 0


def _agreed(samples: Series) -> float:
    name = "http_request_duration_seconds"
    count = value(samples, f"{name}_count")
    assert value(samples, f"{name}_bucket", {"le": "+Inf"}) == count
    assert value(samples, "http_requests_total") == count
    assert value(samples, "http_requests_in_progress") >= 0
    buckets = [
        (float(dict(have)["le"]), number)
        for (sample, have), number in samples.items()
        if sample == f"{name}_bucket"
    ]
    numbers = [number for _, number in sorted(buckets)]
    assert numbers == sorted(numbers)
    return count


# --- the same thread, in the middle of an update


class Interrupting:
    """Cells that call back once, in the middle of the first update that writes to them."""

    def __init__(self, cells: Any, interrupt: Callable[[], object]) -> None:
        self._cells = cells
        self._interrupt: Callable[[], object] | None = interrupt

    def __getitem__(self, index: int) -> float:
        return self._cells[index]  # type: ignore[no-any-return]

    def __setitem__(self, index: int, number: float) -> None:
        interrupt, self._interrupt = self._interrupt, None
        self._cells[index] = number
        if interrupt is not None:
            interrupt()


def interrupted(instrumentation: Instrumentation, interrupt: Callable[[], object]) -> None:
    store: Any = instrumentation.recorder.store
    store.cells = Interrupting(store.cells, interrupt)


def test_recording_in_the_middle_of_an_update_loses_nothing(registry: CollectorRegistry) -> None:
    instrumentation = core(registry)
    record(instrumentation)
    for _ in range(3):
        interrupted(instrumentation, lambda: record(instrumentation, "/inner"))
        record(instrumentation)
    samples = collected(registry)
    assert value(samples, "http_requests_total", {"route": "/r"}) == 4
    assert value(samples, "http_requests_total", {"route": "/inner"}) == 3
    assert value(samples, "http_requests_in_progress") == 0


def test_a_finalizer_may_record_in_the_middle_of_an_update(registry: CollectorRegistry) -> None:
    instrumentation = core(registry)
    record(instrumentation)

    class Recording:
        def __init__(self) -> None:
            self.me = self  # so that only the garbage collector finds it

        def __del__(self) -> None:
            record(instrumentation, "/finalized")

    def collect() -> None:
        Recording()
        gc.collect()

    interrupted(instrumentation, collect)
    record(instrumentation)
    samples = collected(registry)
    assert value(samples, "http_requests_total", {"route": "/finalized"}) == 1
    assert value(samples, "http_requests_total", {"route": "/r"}) == 2


def test_a_scrape_in_the_middle_of_an_update_ends(registry: CollectorRegistry) -> None:
    instrumentation = core(registry)
    record(instrumentation)
    seen: list[Series] = []
    interrupted(instrumentation, lambda: seen.append(collected(registry)))
    record(instrumentation)
    assert value(seen[0], "http_requests_total") == 2  # its bucket is written, its sum is not
    assert value(collected(registry), "http_requests_total") == 2


needs_timers = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no interval timers"
)


@contextmanager
def alarms(handler: Callable[[int, FrameType | None], object], every: float) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, every, every)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@needs_timers
def test_a_signal_handler_may_record(registry: CollectorRegistry) -> None:
    instrumentation = core(registry)
    handled = recorded = 0

    def handler(_: int, __: FrameType | None) -> None:
        nonlocal handled
        handled += 1
        record(instrumentation, "/handler")

    deadline = time.monotonic() + 20
    with alarms(handler, 0.0005):
        while handled < 50 and time.monotonic() < deadline:
            record(instrumentation)
            recorded += 1
    samples = collected(registry)
    assert value(samples, "http_requests_total", {"route": "/r"}) == recorded
    assert value(samples, "http_requests_total", {"route": "/handler"}) == handled
    assert handled >= 50
    assert in_progress(registry) == 0


# --- exceptions from outside, wherever a signal handler may raise them


class OutsideError(BaseException):
    """What a signal handler raises: a time limit, or a server that shuts down."""


def raising_at(step: int, call: Callable[[], object]) -> bool:
    """Run `call` and raise where its `step`-th call returns or begins; tell whether it came so far.

    The interpreter runs signal handlers as a function begins and after a function of C returned,
    and that is where a profile function is called.
    """
    left = step

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal left
        ours = "prom_middleware" in frame.f_code.co_filename
        if not ours or event not in ("call", "c_return"):
            return
        left -= 1
        if left == 0:
            raise OutsideError

    sys.setprofile(profile)
    try:
        with suppress(OutsideError):
            call()
    finally:
        sys.setprofile(None)
    return left <= 0


def _one_error(instrumentation: Instrumentation) -> None:
    instrumentation.start({"route": "/r"}, "GET").failed(ValueError())


CALLS = {
    "start": lambda core: core.start({"route": "/r"}, "GET"),
    "finish": record,
    "error": _one_error,
    "queue": lambda core: core.queued(f"{time.time():.3f}"),
    "read": lambda core: core.turn.read(lambda: None),
}


@pytest.mark.interpreted
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("warm", [False, True], ids=["first", "later"])
def test_an_exception_from_outside_does_not_stop_the_recording(name: str, warm: bool) -> None:
    stopped = []
    for step in range(1, 100):
        registry = CollectorRegistry()
        instrumentation = core(registry)
        if warm:
            CALLS[name](instrumentation)
        if not raising_at(step, lambda: CALLS[name](instrumentation)):  # noqa: B023
            break
        if not _records(instrumentation, registry):
            stopped.append(step)
    assert step > 3
    assert not stopped, "after an exception there, nothing is recorded any more"


def _records(instrumentation: Instrumentation, registry: CollectorRegistry) -> bool:
    instrumentation.turn.read(lambda: None, timeout=0.01)
    for _ in range(3):
        record(instrumentation, "/after")
    store, series = instrumentation.recorder.store, instrumentation.recorder.series.requests
    blocks = dict(store.snapshot().read(series.family))
    block = blocks.get(("GET", "/after", "200"), [])
    return sum(block[series.first :]) == 3


# --- against a plain model

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["finish", "abort", "fail", "late", "discard", "leave"]),
        st.sampled_from(["GET", "POST", "BREW", "HEAD"]),
        st.sampled_from(["/a", "/b", None]),
        st.sampled_from([200, 404, 503, None]),
        st.integers(0, 1000),
    ),
    max_size=30,
)


class Model:
    """What the rules say, in the plainest words."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.aborted: Counter[str] = Counter()
        self.exceptions: Counter[str] = Counter()
        self.sent = self.open = 0

    def step(self, end: str, method: str, route: str | None, status: int | None, sent: int) -> None:
        if end == "leave":
            self.open += 1
        if end in ("leave", "discard"):
            return
        missing = "499" if end == "abort" else "500"
        shown = "_OTHER" if method == "BREW" else method
        self.requests[shown, route or "<unmatched>", str(status or missing)] += 1
        self.sent += 0 if method == "HEAD" or status is None else sent
        if end == "abort":
            self.aborted[DISCONNECT] += 1
        if end == "fail":
            self.aborted[ERROR] += 1
        if end in ("fail", "late"):
            self.exceptions["KeyError"] += 1


def _perform(instrumentation: Instrumentation, end: str, observation: Any) -> None:
    if end in ("finish", "late"):
        observation.finish()
        observation.finish()
    if end == "abort":
        observation.disconnected = True
        observation.returned()
    if end in ("fail", "late"):
        error = KeyError("x")
        observation.raised(error)
        observation.failed(error)
    if end == "discard":
        observation.discard()
        observation.finish()


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_sequence_of_requests_is_recorded_as_the_rules_say(steps: list[Any]) -> None:
    registry, model, kept = CollectorRegistry(), Model(), []
    instrumentation = core(registry)
    for end, method, route, status, sent in steps:
        observation = instrumentation.start({"route": route}, method)
        observation.status, observation.sent = status and str(status), sent
        _perform(instrumentation, end, observation)
        model.step(end, method, route, status, sent)
        kept.append(observation)
    samples = collected(registry)
    assert _requests(samples) == dict(model.requests)
    assert value(samples, "http_response_body_bytes_total") == model.sent
    assert value(samples, "http_requests_in_progress") == model.open
    assert value(samples, "http_request_exceptions_total") == sum(model.exceptions.values())
    for reason in (DISCONNECT, ERROR, INCOMPLETE):
        found = value(samples, "http_responses_aborted_total", {"reason": reason})
        assert found == model.aborted[reason]


def _requests(samples: Series) -> dict[tuple[str, str, str], float]:
    return {
        (dict(have)["method"], dict(have)["route"], dict(have)["status"]): number
        for (name, have), number in samples.items()
        if name == "http_requests_total"
    }


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.0050001, 9.99, 10.0, 10.1, 1e9])
def test_a_value_at_a_bound_is_in_its_bucket(seconds: float, registry: CollectorRegistry) -> None:
    """Prometheus' bounds are inclusive: `le` is less or equal."""
    recorder = core(registry).recorder
    recorder.observe(recorder.series.queue, (), seconds)
    for (name, have), number in collected(registry).items():
        if name == "http_request_queue_seconds_bucket":
            bound = math.inf if dict(have)["le"] == "+Inf" else float(dict(have)["le"])
            assert number == (seconds <= bound)


@pytest.mark.parametrize("seconds", [0.005, 0.25, 10.0])
def test_a_request_that_took_as_long_as_a_bound_is_in_its_bucket(
    seconds: float, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("prom_middleware.instrumentation.observation.perf_counter", clock)
    observation = core(registry).start({"route": "/r"}, "GET")
    clock.now = seconds
    observation.finish()
    for (name, have), number in collected(registry).items():
        if name == "http_request_duration_seconds_bucket":
            bound = math.inf if dict(have)["le"] == "+Inf" else float(dict(have)["le"])
            assert number == (seconds <= bound)


def test_an_update_that_fails_is_counted_and_the_next_one_is_not_lost(
    registry: CollectorRegistry,
) -> None:
    from prom_middleware import failures

    def broken() -> None:
        raise RuntimeError

    recorder = core(registry).recorder
    before = failures.counts().get("record", 0)
    recorder.turn.update(broken)
    recorder.add(recorder.series.scrapes, ("200",))
    assert failures.counts()["record"] == before + 1
    assert value(collected(registry), "prom_middleware_scrapes_total") == 1


def test_of_a_response_that_never_started_nothing_was_sent(registry: CollectorRegistry) -> None:
    observation = core(registry).start({"route": "/r"}, "GET")
    observation.sent, observation.rarely().event_stream = 5, True
    observation.finish()
    samples = collected(registry)
    assert value(samples, "http_request_duration_seconds_count", {"status": "500"}) == 1
    assert value(samples, "http_stream_duration_seconds_count") == 0
    assert value(samples, "http_response_body_bytes_total") == 0


@pytest.mark.parametrize(
    ("status", "label"),
    [(99, "_OTHER"), (100, "100"), (599, "599"), (600, "600"), (999, "999"), (1000, "_OTHER")],
)
def test_a_status_has_three_digits(status: int, label: str) -> None:
    assert status_label(status) == label
