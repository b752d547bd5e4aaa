"""A bridge that was started before a fork: what the child has of it, and how it begins there."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge

from bridge.systems import Sink, page
from metrics import value
from prom_middleware.bridge import Bridge, GraphiteBridge
from prom_middleware.bridge.outgoing import health
from stores.multiprocess.children import run
from waiting import becomes, eventually

SENT = "prom_middleware_bridge_sent_samples_total"
LONG = 3600.0  # seconds until a bridge would send of its own accord


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("bridge to ")]


def test_a_child_starts_it_for_itself_and_the_parents_goes_on(sink: Sink) -> None:
    registry = CollectorRegistry()
    number = Gauge("number", "help", registry=registry)
    number.set(1)
    with Bridge(sink.url, registry, interval=0.05) as bridge:
        assert becomes(lambda: "number 1.0" in sink.lines, True)

        def child() -> None:
            number.set(2)
            bridge.start()
            bridge.start()
            assert len(threads()) == 1
            bridge.stop()
            assert threads() == []

        assert run(child) == 0
        assert becomes(lambda: "number 2.0" in sink.lines, True)
        number.set(3)
        assert becomes(lambda: "number 3.0" in sink.lines, True)
    assert len(sink.received) == 2, "one connection for each process"


def test_a_child_of_a_process_that_just_shows_another_one_waits_for_nobody(sink: Sink) -> None:
    holding, released = threading.Event(), threading.Event()

    def hold() -> None:
        with health._lock:
            holding.set()
            released.wait(60)

    thread = threading.Thread(target=hold)
    with Bridge(sink.url, CollectorRegistry(), interval=LONG) as bridge:
        thread.start()
        assert holding.wait(60)
        try:
            assert run(lambda: bridge.start().stop()) == 0
        finally:
            released.set()
            thread.join()


def test_a_child_counts_from_nothing_and_sends_nothing_that_is_the_parents(sink: Sink) -> None:
    registry = CollectorRegistry()
    Gauge("number", "help", registry=registry).set(1)
    with Bridge(sink.url, registry, interval=LONG, jitter=0.0) as bridge:
        assert eventually(lambda: bridge.health.sent, bool)

        def child() -> None:
            assert value(page(registry), SENT, {"to": sink.url}) == 0, "not its own"
            bridge.start()
            assert eventually(lambda: bridge.health.sent, bool) < 2 * before

        before = bridge.health.sent
        assert run(child) == 0
        assert bridge.health.sent == before


def test_a_bridge_of_prometheus_clients_name_has_one_thread_in_each_process(sink: Sink) -> None:
    registry = CollectorRegistry()
    Gauge("number", "help", registry=registry).set(1)
    bridge = GraphiteBridge(sink.address, registry)
    bridge.start(LONG)
    bridge.start(LONG)
    assert len(threads()) == 1

    def child() -> None:
        bridge.start(0.05, prefix="child")
        assert len(threads()) == 1
        bridge.stop()

    assert run(child) == 0
    assert becomes(lambda: "child.number 1.0" in sink.lines, True)
    bridge.stop()
    assert threads() == []
