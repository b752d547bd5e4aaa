"""What a worker has begun to answer, and what becomes of it when it is killed or forks."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from instrumentation.driver import core, record
from metrics import collected, in_progress, value
from prom_middleware.instrumentation import Instrumentation, Observation
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import killed, run

REQUESTS, LATENCIES = "http_requests_total", "http_request_duration_seconds_count"


def begin(instrumentation: Instrumentation, route: str = "/r") -> Observation:
    begun = instrumentation.start({"route": route}, "GET")
    begun.status = "200"
    return begun


def streaming_first(begun: Observation) -> None:
    begun.note_type("text/event-stream")
    begun.promise()


def promising_first(begun: Observation) -> None:
    begun.promise()
    begun.note_type("text/event-stream")


@pytest.mark.parametrize("before", [0, 1], ids=["the first", "another one"])
@pytest.mark.parametrize("start", [streaming_first, promising_first])
def test_an_event_stream_of_a_killed_worker_has_no_latency(
    shared: MultiprocessStore, start: Callable[[Observation], None], before: int
) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)

    def life() -> None:
        for _ in range(before):
            begun = begin(instrumentation)
            start(begun)
            begun.finish()
        start(begin(instrumentation))

    killed(life)
    for _ in range(2):  # before its slot is taken, and after
        samples = collected(registry)
        assert value(samples, REQUESTS, {"route": "/r"}) == 1 + before
        assert value(samples, LATENCIES, {"route": "/r"}) == 0
        record(instrumentation, "/other")


def test_a_response_is_promised_once(shared: MultiprocessStore) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)

    def life() -> None:
        record(instrumentation)
        begun = begin(instrumentation)
        for _ in range(2):
            begun.promise()

    killed(life)
    assert value(collected(registry), REQUESTS) == 2


@pytest.mark.parametrize("start", [streaming_first, promising_first])
def test_an_event_stream_that_ends_is_promised_no_more(
    shared: MultiprocessStore, start: Callable[[Observation], None]
) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)

    def end() -> None:
        begun = begin(instrumentation)
        start(begun)
        begun.finish()
        refused = begin(instrumentation)
        start(refused)
        refused.status, refused.rarely().event_stream = "500", False
        refused.finish()

    killed(end)
    samples = collected(registry)
    assert value(samples, REQUESTS, {"status": "200"}) == 1
    assert value(samples, REQUESTS, {"status": "500"}) == 1
    assert value(samples, LATENCIES) == value(samples, LATENCIES, {"status": "500"}) == 1
    assert value(samples, "http_stream_duration_seconds_count") == 1


def test_a_promise_among_too_many_series_is_kept_in_a_series_that_another_worker_made(
    shared: MultiprocessStore,
) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry, max_series=2)
    for route in ("/1", "/2"):
        record(instrumentation, route)

    def life() -> None:
        begun = begin(instrumentation, "/3")
        begun.promise()
        other = MultiprocessStore(shared.directory)
        other.allocate(instrumentation.recorder.series.requests.family, ("GET", "/3", "200"))
        collected(registry)  # which tells of it
        begun.finish()

    killed(life)
    assert value(collected(registry), REQUESTS) == 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("promised", ["nowhere", "by the child", "before"])
def test_a_request_that_a_child_took_along_is_its_parents(
    shared: MultiprocessStore, promised: str, stream: bool
) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)
    begun = begin(instrumentation)
    if stream:
        begun.note_type("text/event-stream")
    if promised == "before":
        begun.promise()

    def child() -> None:
        if promised == "by the child":
            begun.promise()
        begun.failed(SystemExit())
        record(instrumentation)
        assert in_progress(registry) == 1

    assert run(child) == 0
    begun.finish()
    samples = collected(registry)
    assert value(samples, REQUESTS) == value(samples, REQUESTS, {"status": "200"}) == 2
    assert value(samples, "http_request_exceptions_total") == 0
    assert in_progress(registry) == 0


@pytest.mark.parametrize("status", ["200", "500"])
def test_an_event_stream_of_which_nothing_was_sent_is_promised_no_more(
    shared: MultiprocessStore, status: str
) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)

    def end() -> None:
        begun = begin(instrumentation)
        begun.status = status
        streaming_first(begun)
        begun.status = None  # the server answers in its place
        begun.failed(ValueError())

    killed(end)
    samples = collected(registry)
    assert value(samples, REQUESTS) == value(samples, REQUESTS, {"status": "500"}) == 1
    assert value(samples, LATENCIES) == 1
    assert value(samples, "http_stream_duration_seconds_count") == 0


def test_a_worker_of_event_streams_looks_after_the_files(shared: MultiprocessStore) -> None:
    instrumentation = core()
    for _ in range(2):
        begun = begin(instrumentation)
        streaming_first(begun)
        begun.finish()
        shutil.rmtree(shared.directory, ignore_errors=True)
        shared.look_at = -math.inf  # it is time for it
    begun = begin(instrumentation)
    streaming_first(begun)
    assert Path(shared.directory).is_dir()


def test_what_a_killed_worker_had_open_is_open_no_more(shared: MultiprocessStore) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)
    instrumentation.connect({}).accepted()

    def life() -> None:
        instrumentation.connect({}).accepted()
        assert value(collected(registry), "websocket_connections_open") == 2

    killed(life)
    for _ in range(2):  # before its slot is taken, and after
        assert value(collected(registry), "websocket_connections_open") == 1
        run(lambda: record(instrumentation))


@pytest.mark.parametrize("ends", [False, True], ids=["promises", "ends"])
def test_what_another_thread_left_meanwhile_is_not_lost_with_the_worker(
    shared: MultiprocessStore, ends: bool
) -> None:
    """It found the store taken by this one, and it may be long until another request ends."""
    registry = CollectorRegistry()
    instrumentation = core(registry)
    for route in ("/long", "/short"):
        record(instrumentation, route)

    class Interrupted(dict[Any, int]):
        short: Observation

        def __getitem__(self, labels: Any) -> int:
            thread = Thread(target=self.short.finish)
            thread.start()
            thread.join()
            return super().__getitem__(labels)

    def life() -> None:
        offsets = Interrupted(instrumentation.offsets)
        long, offsets.short = begin(instrumentation, "/long"), begin(instrumentation, "/short")
        offsets.short.promise()
        if ends:
            long.promise()
        instrumentation.offsets = offsets
        (long.finish if ends else long.promise)()
        assert offsets.short.done

    killed(life)
    bucket = {"route": "/short", "le": "10.0"}  # what is promised is slower than all of them
    assert value(collected(registry), "http_request_duration_seconds_bucket", bucket) == 2
