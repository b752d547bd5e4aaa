"""Which trace a bucket shows: whose header, whose span, for how long, and never half of one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from math import inf
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from prometheus_client import CollectorRegistry
from prometheus_client.samples import Exemplar

from clocks import Clock
from instrumentation.driver import core
from prom_middleware import failures
from prom_middleware.instrumentation import Instrumentation, exemplars, observation
from prom_middleware.instrumentation.exemplars import (
    MAX_RETENTION,
    MIN_RETENTION,
    Seen,
    read_exemplars,
    write,
)
from prom_middleware.instrumentation.tracing import parent_trace
from prom_middleware.stores import Family, MemoryStore
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import killed, run, three_at_work

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"
ZEROS = "0" * 32
FAMILY = Family("http", ("route",), 2 * exemplars.WIDTH, kind="exemplars")
DURATION, TOTAL = "http_request_duration_seconds", "http_requests"

# https://www.w3.org/TR/trace-context/#traceparent-header, and the harness of its test suite.
HEADERS = [
    (HEADER, True),
    (f"00-{TRACE}-{SPAN}-03", True),  # other flags are not ours to judge
    (f"00-{TRACE}-{SPAN}-ff", True),
    (f" {HEADER}\t", True),
    (f"01-{TRACE}-{SPAN}-01", True),
    (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
    (f"00-{TRACE}-{SPAN}-00", False),  # not sampled
    (f"00-{TRACE}-{SPAN}-02", False),
    (f"00-{TRACE}-{SPAN}-01-more", False),
    (f"00-{TRACE}-{SPAN}-01.", False),
    (f"cc-{TRACE}-{SPAN}-01.what", False),
    (f"ff-{TRACE}-{SPAN}-01", False),
    (f"00-{ZEROS}-{SPAN}-01", False),
    (f"00-{TRACE}-{ZEROS[:16]}-01", False),
    (HEADER.upper(), False),
    (f"00-{TRACE[:-1]}.-{SPAN}-01", False),
    (f"00-{TRACE[:-1]}-{SPAN}-01", False),
    (f"00-{TRACE}0-{SPAN}-01", False),
    (f"00-{TRACE}-{SPAN[:-1]}-01", False),
    (f"0-{TRACE}-{SPAN}-01", False),
    (f"00-{TRACE}-{SPAN}-1", False),
    (f"00-{TRACE}-{SPAN}-001", False),
    (f"00-{TRACE}-{SPAN}", False),
    (f"{HEADER}, {HEADER}", False),
    (f"{HEADER}\n", False),
    ("", False),
    ("-", False),
    ("٠٠" + HEADER[2:], False),
]


@pytest.mark.parametrize(("header", "valid"), HEADERS)
def test_headers(header: str, valid: bool) -> None:
    expected = int(TRACE + SPAN, 16) if valid else None
    assert parent_trace(header) == expected
    if header.isascii():
        assert parent_trace(header.encode()) == expected


@given(
    st.text() | st.binary() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
)
def test_any_header(header: str | bytes) -> None:
    trace = parent_trace(header)
    assert trace is None or (0 < trace >> 64 < 1 << 128 and trace & ((1 << 64) - 1))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(1_700_000_000.25)
    monkeypatch.setattr(exemplars, "time", clock)
    monkeypatch.setattr(exemplars, "perf_counter", clock)
    monkeypatch.setattr(observation, "perf_counter", clock)
    return clock


@pytest.fixture(autouse=True)
def nothing_fails() -> Iterator[None]:
    before = failures.counts()
    yield
    assert failures.counts() == before


def header(number: int) -> str:
    return f"00-{number:032x}-{number:016x}-01"


def request(
    instrumentation: Instrumentation, clock: Clock, seconds: float, trace: Any, **more: Any
) -> None:
    """Record a request that takes so long."""
    begun = instrumentation.start({"route": "/r", **more}, "GET")
    begun.trace, begun.status = trace, "200"
    begun.rarely().event_stream = more.get("stream", False)
    clock.now += seconds
    begun.finish()


def shown(registry: CollectorRegistry, name: str = DURATION) -> dict[Any, Exemplar]:
    """Return the exemplars of a family, by `le` or by the sample's name."""
    return {
        sample.labels.get("le", sample.name): sample.exemplar
        for family in registry.collect()
        if family.name == name
        for sample in family.samples
        if sample.exemplar is not None
    }


def allocated(instrumentation: Instrumentation) -> bool:
    families = instrumentation.exemplars.families.values()
    return any(instrumentation.store.offsets(family) for family in families)


def traces(registry: CollectorRegistry, name: str = DURATION) -> dict[Any, int]:
    return {le: int(one.labels["trace_id"], 16) for le, one in shown(registry, name).items()}


def test_one_for_each_bucket(clock: Clock) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry, buckets=[0.1, 1.0])
    for number, seconds in enumerate((0.0625, 0.5, 4.0), 1):
        request(instrumentation, clock, seconds, header(number))
    found = shown(registry)
    assert {le: one.value for le, one in found.items()} == {"0.1": 0.0625, "1.0": 0.5, "+Inf": 4.0}
    assert found["1.0"].labels == {"trace_id": f"{2:032x}", "span_id": f"{2:016x}"}
    assert found["+Inf"].timestamp == clock.now
    assert sum(map(len, (*found["1.0"].labels, *found["1.0"].labels.values()))) <= 128


def test_the_counter_shows_the_youngest(clock: Clock) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry, buckets=[0.1, 1.0])
    request(instrumentation, clock, 0.5, header(1))
    request(instrumentation, clock, 0.0625, header(2))
    (found,) = shown(registry, TOTAL).values()
    assert (found.labels["trace_id"], found.value) == (f"{2:032x}", 1.0)


def test_ages(clock: Clock) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)
    request(instrumentation, clock, 0.0, header(1))
    clock.now += MIN_RETENTION - 0.5
    request(instrumentation, clock, 0.0, header(2))
    assert traces(registry) == {"0.005": 1}
    clock.now += 0.5
    request(instrumentation, clock, 0.0, header(3))
    assert traces(registry) == {"0.005": 3}
    clock.now += MAX_RETENTION
    assert traces(registry) == {"0.005": 3}
    clock.now += 0.5
    assert traces(registry) == {}
    assert traces(registry, TOTAL) == {}


def test_a_clock_that_is_set_back(clock: Clock) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)
    request(instrumentation, clock, 0.0, header(1))
    clock.now -= 3600
    request(instrumentation, clock, 0.0, header(2))
    assert traces(registry) == {"0.005": 2}


def test_of_two_workers_the_younger_one_is_shown(clock: Clock, shared: MultiprocessStore) -> None:
    """Whichever of the workers is read first."""
    registry = CollectorRegistry()
    instrumentation = core(registry)
    other, at = MultiprocessStore(shared.directory), clock.now + 0.5
    request(instrumentation, clock, 0.0, header(1))
    clock.now += 1
    request(instrumentation, clock, 0.01, header(2))
    family = instrumentation.exemplars.families[instrumentation.recorder.series.requests.family]
    place = other.allocate(family, ("GET", "/r", "200"))
    for bucket in range(2):
        write(other, place + bucket * exemplars.WIDTH, Seen(at, 0.0, 3 + bucket << 64))
    assert traces(registry) == {"0.005": 3, "0.01": 2}


def test_registries_that_share_a_store_have_their_own(
    clock: Clock, shared: MultiprocessStore
) -> None:
    registries = [CollectorRegistry() for _ in range(2)]
    for number, registry in enumerate(registries, 1):
        request(core(registry), clock, 0.0, header(number))
    assert [traces(registry) for registry in registries] == [{"0.005": 1}, {"0.005": 2}]


def test_bytes_have_none(clock: Clock) -> None:
    registry = CollectorRegistry()
    begun = core(registry).start({"route": "/r"}, "GET")
    begun.status, begun.sent, begun.received, begun.trace = "200", 5, 5, header(1)
    begun.finish()
    names = {family.name for family in registry.collect() if shown(registry, family.name)}
    assert names == {DURATION, TOTAL}


@pytest.mark.parametrize("labels", [{}, {"tenant": "acme", "version": "2"}])
def test_event_streams_have_their_own(clock: Clock, labels: dict[str, str]) -> None:
    registry = CollectorRegistry()
    request(core(registry, labels=labels), clock, 30.0, header(1), stream=True)
    assert traces(registry, "http_stream_duration_seconds") == {"60.0": 1}
    assert traces(registry) == {}


def test_the_overflow_series(clock: Clock) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry, max_series=1)
    for number in range(1, 50):
        request(instrumentation, clock, 0.0, header(number), route=f"/{number}")
        clock.now += MIN_RETENTION
    store, families = instrumentation.store, instrumentation.exemplars.families
    assert len(store.offsets(families[instrumentation.recorder.series.requests.family])) == 2
    assert 49 in traces(registry).values()


def test_off(clock: Clock) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry, exemplars=False)
    with TracerProvider().get_tracer("t").start_as_current_span("request"):
        request(instrumentation, clock, 0.0, None)
    assert not instrumentation.traced
    assert traces(registry) == {}
    assert not allocated(instrumentation)


def test_nothing_is_allocated_without_a_trace(clock: Clock) -> None:
    instrumentation = core()
    for trace in (None, f"00-{TRACE}-{SPAN}-00", "noise"):
        request(instrumentation, clock, 0.0, trace)
    assert not allocated(instrumentation)


class TestSpans:
    """OpenTelemetry's own spans."""

    def ids(self, registry: CollectorRegistry) -> dict[str, str]:
        (found,) = shown(registry).values()
        return dict(found.labels)

    def test_the_current_span_goes_before_the_header(self, clock: Clock) -> None:
        registry = CollectorRegistry()
        instrumentation = core(registry)
        with TracerProvider().get_tracer("t").start_as_current_span("request") as span:
            request(instrumentation, clock, 0.0, HEADER)
        context = span.get_span_context()
        assert self.ids(registry) == {
            "trace_id": f"{context.trace_id:032x}",
            "span_id": f"{context.span_id:016x}",
        }

    def test_a_span_that_is_not_sampled(self, clock: Clock) -> None:
        registry = CollectorRegistry()
        instrumentation = core(registry)
        tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("t")
        with tracer.start_as_current_span("request"):
            request(instrumentation, clock, 0.0, None)
        assert shown(registry) == {}

    @pytest.mark.parametrize(("ago", "is_its_own"), [(-0.1, True), (0.1, False)])
    def test_a_span_that_has_ended_during_the_request_or_before(
        self, clock: Clock, ago: float, is_its_own: bool
    ) -> None:
        registry = CollectorRegistry()
        instrumentation = core(registry)
        with TracerProvider().get_tracer("t").start_as_current_span("request") as span:
            span.end(int((clock.now - ago) * 1e9))
            request(instrumentation, clock, 0.25, None)
        assert bool(shown(registry)) is is_its_own

    def test_a_span_that_only_passes_through_is_its_callers(self, clock: Clock) -> None:
        registry = CollectorRegistry()
        instrumentation = core(registry)
        with use_span(NonRecordingSpan(SpanContext(1, 2, True, TraceFlags(1)))):
            request(instrumentation, clock, 0.25, HEADER)
        assert self.ids(registry) == {"trace_id": TRACE, "span_id": SPAN}

    def test_the_header_where_there_is_no_span(self, clock: Clock) -> None:
        registry = CollectorRegistry()
        request(core(registry), clock, 0.0, HEADER)
        assert self.ids(registry) == {"trace_id": TRACE, "span_id": SPAN}

    def test_who_records_for_another_has_another_span(self, clock: Clock) -> None:
        registry = CollectorRegistry()
        instrumentation = core(registry)
        tracer = TracerProvider().get_tracer("t")
        turn = instrumentation.turn
        give = turn.tokens.pop()
        with tracer.start_as_current_span("ours") as ours:
            request(instrumentation, clock, 0.0, None)
        give(give)
        with tracer.start_as_current_span("another's"):
            turn.drain()
        assert self.ids(registry)["span_id"] == f"{ours.get_span_context().span_id:016x}"

    def test_a_tracer_that_fails_is_counted_and_nothing_else(
        self, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(failures, "_counts", {})

        def broken() -> None:
            raise RuntimeError("no span")

        monkeypatch.setattr("opentelemetry.trace.get_current_span", broken)
        registry = CollectorRegistry()
        request(core(registry), clock, 0.0, HEADER)
        (count,) = (f for f in registry.collect() if f.name == TOTAL)
        assert [sample.value for sample in count.samples] == [1]
        assert failures.counts() == {"exemplar": 1}
        monkeypatch.setattr(failures, "_counts", {})


SEEN = st.builds(
    Seen,
    st.floats(1, 2e9),
    st.floats(0, 1e6),
    st.integers(0, (1 << 192) - 1),
)


@given(SEEN)
def test_what_is_written_is_read(seen: Seen) -> None:
    store = MemoryStore()
    offset = store.allocate(FAMILY, ("/",))
    write(store, offset + exemplars.WIDTH, seen)
    block = [float(store.cells[at]) for at in range(offset, offset + FAMILY.width)]
    assert list(exemplars._read(block, 0.5, inf)) == [(1, seen)]
    assert len("".join((*seen.labels(), *seen.labels().values()))) == 63


@given(SEEN, SEEN, st.integers(1, exemplars.WIDTH - 1))
def test_half_of_one_is_none(before: Seen, after: Seen, written: int) -> None:
    """Whoever reads or is killed while one is written over another: the old, the new or none."""
    store = MemoryStore()
    offset = store.allocate(FAMILY, ("/",))
    write(store, offset, after)
    whole = [store.cells[at] for at in range(offset, offset + FAMILY.width)]
    write(store, offset, before)
    old = [store.cells[at] for at in range(offset, offset + FAMILY.width)]
    torn = [*whole[:written], *old[written:]]
    assert [seen for _, seen in exemplars._read(torn, 0.5, inf)] in ([], [before], [after])
    if torn not in (whole, old):
        assert list(exemplars._read(torn, 0.5, inf)) == []


@given(st.lists(st.floats(), min_size=14, max_size=14))
def test_noise_is_none(block: list[float]) -> None:
    assert list(exemplars._read(block, 0.5, inf)) == []


def test_all_workers_show_the_youngest(tmp_path: Path) -> None:
    store = MultiprocessStore(tmp_path)
    now = exemplars.time() - 5

    def work(number: int) -> None:
        mine = MultiprocessStore(tmp_path)
        offset = mine.allocate(FAMILY, ("/",))
        write(mine, offset, Seen(now + number, 0.5, number))
        write(mine, offset + exemplars.WIDTH, Seen(now - number, 0.5, number))

    keep = MultiprocessStore(tmp_path)
    write(keep, keep.allocate(FAMILY, ("/",)), Seen(now, 0.5, 9))
    for number in (2, 1):  # the second worker goes on in what the first one left
        assert run(lambda number=number: work(number)) == 0
    found = read_exemplars(store.snapshot(), FAMILY)[("/",)]
    assert found == {0: Seen(now + 1, 0.5, 1), 1: Seen(now - 1, 0.5, 1)}


def test_after_the_clock_was_set_back_the_younger_one_is_shown(
    shared: MultiprocessStore, clock: Clock
) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)

    def work() -> None:
        clock.now += 3600
        request(instrumentation, clock, 0.0, header(2))

    request(instrumentation, clock, 0.0, header(1))
    killed(work)
    assert traces(registry) == {"0.005": 1}
    clock.now += 3600
    assert traces(registry) == {"0.005": 2}


def test_a_scrape_of_one_worker_shows_those_of_all(shared: MultiprocessStore, clock: Clock) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)
    killed(lambda: request(instrumentation, clock, 0.0, header(1)))
    assert traces(registry) == {"0.005": 1}
    clock.now += 1
    request(instrumentation, clock, 0.5, header(2))  # in the dead one's slot
    assert traces(registry) == {"0.005": 1, "0.5": 2}
    assert run(lambda: request(instrumentation, clock, 0.0, header(3))) == 0
    assert traces(registry) == {"0.005": 1, "0.5": 2} | {"0.005": 3}
    assert traces(registry, TOTAL) in ({"http_requests_total": 2}, {"http_requests_total": 3})


@pytest.mark.once  # tests/multiprocess_servers kills with every version
def test_never_half_of_one_while_workers_are_killed(
    shared: MultiprocessStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exemplars, "MIN_RETENTION", 0.0)
    registry = CollectorRegistry()
    instrumentation = core(registry)

    def work(seed: int) -> Iterator[None]:
        dice = random.Random(seed)
        while True:
            begun = instrumentation.start({"route": "/r"}, "GET")
            begun.status, begun.trace = "200", header(dice.randrange(1, 1 << 60))
            begun.finish()
            yield

    seen = set()
    with three_at_work(work) as kill_oldest:
        for _ in range(30):
            kill_oldest()
            for one in shown(registry).values():
                assert one.labels["trace_id"] == one.labels["span_id"].zfill(32)
                seen.add(one.labels["trace_id"])
    assert len(seen) > 5


def test_threads(clock: Clock) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)

    def record(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(300):
            begun = instrumentation.start({"route": "/r"}, "GET")
            begun.status, begun.trace = "200", header(dice.randrange(1, 1 << 60))
            begun.finish()
            clock.now += 3.0

    threads = [Thread(target=record, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in shown(registry).values():
        assert one.labels["trace_id"] == one.labels["span_id"].zfill(32)
    (count,) = (f for f in registry.collect() if f.name == TOTAL)
    assert [sample.value for sample in count.samples] == [2400]
