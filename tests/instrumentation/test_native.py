"""Native histograms: the buckets of the specification, the limits of the reference."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from sys import float_info
from threading import Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from clocks import Clock
from instrumentation.driver import core, record
from metrics import collected, value
from prom_middleware import failures
from prom_middleware.instrumentation import Instrumentation, native, observation
from prom_middleware.instrumentation.at_hand import STREAMS
from prom_middleware.instrumentation.families import Native, Row
from prom_middleware.instrumentation.native import (
    BOUNDS,
    FIRST,
    FRACTIONS,
    INFINITE,
    LAST,
    MAX_BUCKETS,
    MAX_ZERO_THRESHOLD,
    SHORTEST,
    WIDTH,
    ZERO_THRESHOLD,
    limited,
    native_of,
    upper_bound,
)
from prom_middleware.instrumentation.series import Requests
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import killed, run, three_at_work
from stores.multiprocess.deaths import STEPS, Death, at_lines

DURATION = "http_request_duration_seconds"


@pytest.fixture(autouse=True)
def nothing_fails() -> Iterator[None]:
    before = failures.counts()
    yield
    assert failures.counts() == before


# --- buckets


def reference_index(value: float, schema: int) -> int:
    """Return the bucket of the specification: the lowest i with value <= 2 ** (i / 2 ** schema)."""
    mantissa, exponent = math.frexp(value)
    if schema <= 0:
        exponent -= mantissa == 0.5
        return -(-exponent // 2**-schema)
    bounds = [2 ** (part / 2**schema) / 2 for part in range(2**schema)]
    return bisect_left(bounds, mantissa) + (exponent - 1) * len(bounds)


def index_of(value: float) -> int:
    return bisect_left(BOUNDS, value) - 2 + FIRST


@given(st.floats(SHORTEST, 2.0**22, exclude_min=True))
def test_a_value_is_in_its_bucket(value: float) -> None:
    index = index_of(value)
    assert FIRST <= index <= LAST
    assert upper_bound(index - 1) < value <= upper_bound(index)
    # What lies on a bound but for a rounding error may be on either side of 2 ** (index / 8).
    near = [math.isclose(value, 2 ** (at / 8), rel_tol=1e-15) for at in (index - 1, index)]
    assert index == reference_index(value, 3) or any(near)


@pytest.mark.parametrize("index", range(FIRST, LAST + 1))
def test_bounds_are_inclusive(index: int) -> None:
    bound = upper_bound(index)
    assert math.isclose(bound, 2 ** (index / 8), rel_tol=4e-16)
    assert index_of(bound) == index
    assert index_of(math.nextafter(bound, math.inf)) == index + 1


def test_the_fractions_are_what_they_say() -> None:
    assert [round(math.log2(part) * 8) for part in FRACTIONS] == list(range(-8, 0))
    for number, part in enumerate(FRACTIONS, -8):
        assert math.isclose(math.log2(part) * 8, number, abs_tol=1e-14)


# TestGetLe of the reference.
LE = [
    (-1, -1, 0.25),
    (0, -1, 1.0),
    (1, -1, 4.0),
    (512, -1, float_info.max),
    (513, -1, math.inf),
    (-1, 0, 0.5),
    (0, 0, 1.0),
    (1, 0, 2.0),
    (1024, 0, float_info.max),
    (1025, 0, math.inf),
    (-1, 2, 0.8408964152537144),
    (0, 2, 1.0),
    (1, 2, 1.189207115002721),
    (4096, 2, float_info.max),
    (4097, 2, math.inf),
]


@pytest.mark.parametrize(("index", "schema", "bound"), LE)
def test_bounds_of_the_reference(index: int, schema: int, bound: float) -> None:
    assert upper_bound(index, schema) == bound


def test_both_ends() -> None:
    cells = [0.0] * WIDTH
    for one in (0.0, 2.0**-130, 2.0**-128, 2.0**-127, SHORTEST, 1.0, 2.0**22, 2.0**23, math.inf):
        cells[bisect_left(BOUNDS, one)] += 1
    assert native_of(cells) == Native(3, SHORTEST, 5.0, {0: 1.0, LAST: 1.0, INFINITE: 2.0})
    assert native_of([2.0, 0.0, *cells[2:]]).zero_threshold == 2.938735877055719e-39
    assert upper_bound(INFINITE - 1) == float_info.max
    assert upper_bound(INFINITE) == math.inf


# --- limits


def observed(*values: float) -> Native:
    """Return a histogram of schema 2, which the reference's tests have."""
    zeros = sum(value <= ZERO_THRESHOLD for value in values)
    buckets = Counter(reference_index(v, 2) for v in values if v > ZERO_THRESHOLD)
    return Native(2, ZERO_THRESHOLD, float(zeros), {i: float(n) for i, n in buckets.items()})


def spans(offset: int, *deltas: int) -> dict[int, float]:
    """Return the buckets of one span, given as the protobuf has them."""
    counts, count = {}, 0
    for index, delta in enumerate(deltas, offset):
        count += delta
        if count:
            counts[index] = float(count)
    return counts


# TestNativeHistogram of the reference (TestSparseHistogram when it was new): four buckets at most.
MANY = (0, 1, 1.1, 1.2, 1.4, 1.8, 2, 3)
LIMITS = [
    ((0, 1, 1.2, 1.4, 1.8, 2), 0.0, Native(2, ZERO_THRESHOLD, 1, spans(0, 1, -1, 2, -2, 2))),
    (MANY, 0.0, Native(1, ZERO_THRESHOLD, 1, spans(0, 1, 2, -1, -2, 1))),
    (MANY, 1.2, Native(2, 1.0, 2, spans(1, 1, 1, -2, 2, -2, 0, 1))),
    ((*MANY, 4), 1.2, Native(2, 1.189207115002721, 3, spans(2, 2, -2, 2, -2, 0, 1, 0))),
]


@pytest.mark.parametrize(("values", "widest", "expected"), LIMITS)
def test_limits_of_the_reference(
    values: tuple[float, ...], widest: float, expected: Native
) -> None:
    assert limited(observed(*values), 4, widest) == expected


EVERY = frozenset((*range(FIRST, LAST + 1), INFINITE))
FEW = st.sets(st.sampled_from(sorted(EVERY)))
# Most sets that are thought of are small: the others lack few, or are all between two.
MANY_OF_THEM = FEW.map(lambda missing: {*EVERY - missing})
RANGES = st.builds(
    lambda first, length: {*range(first, min(first + length, LAST + 1))},
    st.integers(FIRST, LAST - MAX_BUCKETS),
    st.integers(MAX_BUCKETS - 2, len(EVERY)),
)


def of(indexes: set[int]) -> Native:
    return Native(3, ZERO_THRESHOLD, 1.0, dict.fromkeys(sorted(indexes), 2.0))


# Each builds hundreds of buckets.
@settings(max_examples=60)
@example({*range(-110, -110 + MAX_BUCKETS + 1)})  # one too many, none of them short enough
@example({*range(FIRST, FIRST + MAX_BUCKETS + 5)})  # five, which the zero bucket has room for
@given(FEW | MANY_OF_THEM | RANGES)
def test_never_too_many_and_none_lost(indexes: set[int]) -> None:
    found = limited(of(indexes))
    assert len(found.buckets) <= MAX_BUCKETS
    assert found.zero_count + sum(found.buckets.values()) == 1 + 2 * len(indexes)
    assert found.zero_threshold <= MAX_ZERO_THRESHOLD
    assert list(found.buckets) == sorted(found.buckets)
    if found.schema == 3:  # no more than has to be
        assert len(found.buckets) == min(len(indexes), MAX_BUCKETS)
    assert (found == of(indexes)) is (len(indexes) <= MAX_BUCKETS)
    if found.schema < 3:  # only once the zero bucket is as wide as it may be
        assert all(upper_bound(index, found.schema) > MAX_ZERO_THRESHOLD for index in found.buckets)
    for index in found.buckets:  # no bucket begins in the zero bucket
        assert upper_bound(index - 1, found.schema) >= found.zero_threshold
    for bound in (2.0**exponent for exponent in range(-14, 23)):
        below = 1 + 2 * sum(upper_bound(index) <= bound for index in indexes)
        kept = sum(n for i, n in found.buckets.items() if upper_bound(i, found.schema) <= bound)
        assert found.zero_count + kept == below


# On a busy machine it takes a while to think of so many.
@pytest.mark.once
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.permutations(range(FIRST, LAST + 1)))
def test_the_resolution_does_not_come_back(order: list[int]) -> None:
    """What begins anew in between would look like a restart to the server."""
    last = limited(of(set()))
    for number in (*range(MAX_BUCKETS - 2, len(order), 4), len(order)):
        found = limited(of(set(order[:number])))
        assert found.schema <= last.schema
        assert found.zero_threshold >= last.zero_threshold
        last = found
    assert (last.schema, last.zero_threshold) == (2, MAX_ZERO_THRESHOLD)


# --- from requests to rows


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(observation, "perf_counter", clock)
    return clock


def request(instrumentation: Instrumentation, seconds: float, **more: Any) -> None:
    begun = instrumentation.start({"route": "/r"}, "GET")
    begun.started, begun.status = observation.perf_counter() - seconds, "200"
    instrumentation.store.born = -math.inf  # a child would take it for its parent's
    if more.get("stream"):
        begun.note_type("text/event-stream")
    begun.finish()


def row(registry: CollectorRegistry, name: str = DURATION) -> Row:
    (family,) = (one for one in registry.collect() if one.name == name)
    (found,) = family.rows()  # type: ignore[attr-defined]
    return found  # type: ignore[no-any-return]


def check(found: Row) -> Native:
    """The native histogram counts as much as the classic one."""
    assert found.native is not None
    assert found.native.zero_count + sum(found.native.buckets.values()) == found.values[-2]
    return found.native


@settings(max_examples=30)
@given(seconds=st.lists(st.floats(0, 2.0**23), min_size=1))
def test_any_requests(seconds: list[float]) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry, native_histograms=True)
    recorder = instrumentation.recorder
    for one in seconds:
        recorder.observe(recorder.series.queue, (), one)
    found = check(row(registry, "http_request_queue_seconds"))
    expected = Counter(reference_index(one, 3) for one in seconds if SHORTEST < one <= 2.0**22)
    if found.schema == 3 and found.zero_threshold <= SHORTEST:
        assert sum(abs(found.buckets.get(i, 0) - n) for i, n in expected.items()) <= 2 * sum(
            any(math.isclose(one, 2 ** (i / 8), rel_tol=1e-15) for i in range(FIRST, LAST + 1))
            for one in seconds
        )


def test_requests(clock: Clock) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry, native_histograms=True)
    for seconds in (1.0, 1.0, 1.05, 0.5):
        request(instrumentation, seconds)
    assert check(row(registry)) == Native(3, ZERO_THRESHOLD, 0, {-8: 1.0, 0: 2.0, 1: 1.0})
    assert value(collected(registry), "http_requests_total") == 4


def test_event_streams(clock: Clock) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry, native_histograms=True)
    request(instrumentation, 64.0, stream=True)
    assert check(row(registry, "http_stream_duration_seconds")).buckets == {48: 1.0}
    assert value(collected(registry), "http_requests_total") == 1
    assert value(collected(registry), f"{DURATION}_count") == 0
    request(instrumentation, 1.0)
    assert check(row(registry)).buckets == {0: 1.0}


def test_the_overflow_series(clock: Clock) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry, native_histograms=True, max_series=1)
    for route in ("/a", "/b", "/c"):
        record(instrumentation, route)
    (family,) = (one for one in registry.collect() if one.name == DURATION)
    counts = [check(found).zero_count for found in family.rows()]  # type: ignore[attr-defined]
    assert counts == [1, 2]


def test_off_allocates_nothing() -> None:
    series = core().recorder.series
    assert (
        series.requests.family.width
        == series.requests.first + len(series.requests.family.bounds) + 1
    )
    assert series.streams.family.width == 1 + len(series.streams.family.bounds) + 1
    assert series.requests.family.settlement is not None
    assert series.requests.family.settlement.again == ()
    registry = CollectorRegistry()
    record(core(registry))
    assert row(registry).native is None


def test_when_it_was_made() -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)
    record(instrumentation)
    found = row(registry)
    snapshot = instrumentation.store.snapshot()
    assert found.created == snapshot.created(
        instrumentation.recorder.series.requests.family, found.labels
    )
    assert found.created > 1e9


def test_threads() -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry, native_histograms=True)
    threads = [
        Thread(target=lambda: [record(instrumentation) for _ in range(300)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert check(row(registry))
    assert row(registry).values[-2] == 2400


# --- workers


def test_workers_add_up(shared: MultiprocessStore, clock: Clock) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry, native_histograms=True)
    for seconds in (1.0, 2.0):
        killed(lambda seconds=seconds: request(instrumentation, seconds))
        assert run(lambda: request(instrumentation, 4.0)) == 0
    request(instrumentation, 4.0)
    assert check(row(registry)).buckets == {0: 1.0, 8: 1.0, 16: 3.0}


def test_a_promise_that_a_dead_worker_did_not_keep(shared: MultiprocessStore, clock: Clock) -> None:
    """It counts as slower than every bound, in both histograms, before and after the take-over."""
    registry = CollectorRegistry()
    instrumentation = core(registry, native_histograms=True)

    def die() -> None:
        instrumentation.store.born = -math.inf  # by the clock of this test
        begun = instrumentation.start({"route": "/r"}, "GET")
        begun.status = "200"
        begun.promise()
        request(instrumentation, 64.0, stream=True)

    killed(die)
    assert check(row(registry)).buckets == {INFINITE: 1.0}
    assert run(lambda: request(instrumentation, 1.0)) == 0
    assert check(row(registry)).buckets == {0: 1.0, INFINITE: 1.0}
    request(instrumentation, 1.0)
    assert check(row(registry)).buckets == {0: 2.0, INFINITE: 1.0}
    assert value(collected(registry), "http_requests_total") == 4


def test_a_scrape_in_the_middle_of_an_update(clock: Clock) -> None:
    """One more in the native histogram: the other one counts it as slower than every bound."""
    registry = CollectorRegistry()
    instrumentation = core(registry, native_histograms=True, buckets=[1.0])
    request(instrumentation, 0.5)
    (offset,) = instrumentation.offsets.values()
    instrumentation.store.cells[offset + instrumentation.native + 2] += 1
    found = row(registry)
    check(found)
    assert list(found.values) == [1.0, 2.0, 2.0, 0.5]
    assert list(row(registry).values) == [1.0, 2.0, 2.0, 0.5]


def test_what_only_the_classic_histogram_has_is_slower_than_every_bound_in_the_native_one(
    clock: Clock,
) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry, native_histograms=True, buckets=[1.0])
    request(instrumentation, 0.5)
    (offset,) = instrumentation.offsets.values()
    instrumentation.store.cells[offset + Requests.first] += 1
    found = row(registry)
    assert check(found).buckets == {-8: 1.0, INFINITE: 1.0}
    assert list(found.values) == [2.0, 2.0, 2.0, 0.5]


@pytest.mark.once
@pytest.mark.interpreted
@pytest.mark.parametrize("stream", [False, True])
def test_both_histograms_agree_wherever_a_worker_died(
    shared: MultiprocessStore, stream: bool
) -> None:
    """What one of them had more, a request of another worker that is half counted would hide."""
    instrumentation = core(CollectorRegistry(), native_histograms=True)
    series = instrumentation.recorder.series.requests
    record(instrumentation)

    def life(step: int) -> None:
        begun = instrumentation.start({"route": "/r"}, "GET")
        begun.status = "200"
        begun.rarely().event_stream = stream
        begun.promise()
        at_lines(observation)(Death(step))
        begun.finish()

    for step in range(1, STEPS):
        code = run(lambda step=step: life(step))
        ((_, block),) = shared.snapshot().read(series.family)
        assert sum(block[series.first : series.stop]) == sum(block[series.native :])
        assert sum(block[series.first : series.stop]) + block[STREAMS] == step + 1
        if code == 0:
            break
    assert step > 20


@pytest.mark.forks
@pytest.mark.once  # tests/multiprocess_servers kills with every version
def test_no_bucket_falls_while_workers_are_killed(shared: MultiprocessStore) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry, native_histograms=True)

    def work(seed: int) -> Iterator[None]:
        own = random.Random(seed)
        instrumentation.store.born = -math.inf  # for requests that seem to have begun long ago
        while True:
            begun = instrumentation.start({"route": "/r"}, "GET")
            begun.status = "200"
            begun.promise()
            begun.started -= own.choice((0.0, 0.1, 3.0))
            if own.random() < 0.5:
                begun.note_type("text/event-stream")
            begun.finish()
            yield

    record(instrumentation)
    last: dict[int, float] = {}
    with three_at_work(work) as kill_oldest:
        for _ in range(40):
            kill_oldest()
            found = check(row(registry)).buckets
            assert all(found.get(index, 0) >= count for index, count in last.items())
            last = dict(found)
    found = check(row(registry))
    assert sum(found.buckets.values()) > 100
    assert found.buckets.get(INFINITE, 0) <= 43


def test_the_constants_of_the_documentation() -> None:
    assert (native.SCHEMA, native.MAX_BUCKETS, WIDTH) == (3, 160, 339)
