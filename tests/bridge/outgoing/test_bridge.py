"""When a bridge sends, what it does when that fails, and how it ends."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import Metric

from bridge.systems import Closing, Deaf, Families, Sink, gauge, page, registry_of
from metrics import value
from ports import free_port
from prom_middleware import failures
from prom_middleware.bridge import Bridge, GraphiteBridge
from prom_middleware.bridge.outgoing.buffer import Batch, Buffer
from prom_middleware.bridge.outgoing.collecting import families_of
from prom_middleware.bridge.outgoing.health import Health, show
from prom_middleware.errors import OptionError
from waiting import becomes, eventually

SENT = "prom_middleware_bridge_sent_samples_total"


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


def test_it_sends_again_and_again_over_one_connection(sink: Sink) -> None:
    registry = CollectorRegistry()
    number = Gauge("number", "help", registry=registry)
    number.set(1)
    with Bridge(sink.url, registry, interval=0.05):
        assert becomes(lambda: "number 1.0" in sink.lines, True)
        number.set(2)
        assert becomes(lambda: "number 2.0" in sink.lines, True)
        number.set(3)
    assert becomes(lambda: "number 3.0" in sink.lines, True), "what is there at the end"
    assert len(sink.received) == 1


def test_it_tells_of_itself_in_the_registry_that_it_reads(sink: Sink) -> None:
    registry = CollectorRegistry()
    other = Sink()
    Gauge("number", "help", registry=registry).set(1)
    with Bridge(sink.url, registry, interval=0.05), Bridge(other.url, registry, interval=0.05):
        for one in (sink, other):
            to = {"to": one.url}
            assert eventually(lambda to=to: value(page(registry), SENT, to), bool) > 0
            assert value(page(registry), "prom_middleware_bridge_connected", to) == 1
            assert becomes(lambda one=one: f"{SENT}.to.graphite___127" in one.text, True)
    other.close()
    gc.collect()
    assert value(page(registry), SENT) == 0


def test_two_to_one_place_are_counted_together(sink: Sink) -> None:
    registry = CollectorRegistry()
    Gauge("number", "help", registry=registry).set(1)
    with (
        Bridge(sink.url, registry, interval=0.05, prefix="a") as one,
        Bridge(sink.url, registry, interval=0.05, prefix="b") as other,
    ):
        for bridge in (one, other):
            assert eventually(lambda bridge=bridge: bridge.health.sent, bool)
        least = one.health.sent + other.health.sent
        assert value(page(registry), SENT, {"to": sink.url}) >= least


def test_of_two_to_one_place_the_last_attempt_tells_whether_it_is_connected() -> None:
    one, other = Health("graphite://carbon"), Health("graphite://carbon")
    one.last_attempt, one.connected, other.last_attempt = 1.0, True, 2.0
    registry = CollectorRegistry()
    for health in (one, other):
        show(health, registry)
    name, to = "prom_middleware_bridge_connected", {"to": "graphite://carbon"}
    assert value(page(registry), name, to) == 0
    one.last_attempt = 3.0
    assert value(page(registry), name, to) == 1


def test_a_bridge_is_shown_again_in_a_registry_that_was_emptied() -> None:
    health, registry = Health("graphite://carbon"), CollectorRegistry()
    for _ in range(2):
        show(health, registry)
        assert ("prom_middleware_bridge_connected", frozenset({("to", health.to)})) in page(
            registry
        )
        for collector in list(registry._collector_to_names):
            registry.unregister(collector)


def test_what_an_unreachable_system_missed_arrives_later() -> None:
    port = free_port()
    registry = registry_of(gauge("number", ({}, 1)))
    with Bridge(f"graphite://127.0.0.1:{port}", registry, interval=0.05) as bridge:
        assert eventually(lambda: bridge.health.failures["ConnectionRefusedError"], bool)
        assert eventually(lambda: bridge.health.buffered, lambda number: number > 3)
        assert not bridge.health.connected
        waiting = bridge.health.buffered
        received = bytearray()
        with socket.create_server(("127.0.0.1", port)) as server:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(20)
                while received.count(b"\n") < waiting:
                    received += connection.recv(65536)
        assert eventually(lambda: bridge.health.sent, waiting.__le__) >= waiting


def test_the_oldest_samples_make_room_and_are_counted() -> None:
    registry = registry_of(gauge("number", ({}, 1)))
    unreachable = f"graphite://127.0.0.1:{free_port()}"
    with Bridge(unreachable, registry, interval=0.01, buffer=40) as bridge:
        assert eventually(lambda: bridge.health.dropped["buffer_full"], bool)
        assert bridge.health.buffered <= 40
    assert 0 < bridge.health.dropped["stopped"] <= 40


@given(st.lists(st.integers(0, 30)), st.integers(0, 50))
def test_a_buffer_loses_nothing_uncounted(sizes: list[int], limit: int) -> None:
    buffer = Buffer(limit)
    dropped = sum(buffer.append(Batch(None, size)) for size in sizes)
    assert dropped + buffer.samples == sum(sizes)
    assert buffer.samples <= max(limit, *sizes[-1:], 0)
    assert buffer.clear() + dropped == sum(sizes)


def test_a_peer_that_never_reads_does_not_hold_it_up() -> None:
    deaf = Deaf()
    series = [({"label": str(number) * 1000}, 1.0) for number in range(2000)]
    bridge = Bridge(deaf.url, registry_of(gauge("number", *series)), timeout=0.3, interval=0.1)
    with bridge:
        assert eventually(lambda: bridge.health.failures["TimeoutError"], bool)
        bridge.stop(0.5)
    assert eventually(lambda: bridge.health.dropped["stopped"], bool)
    deaf.close()


def test_a_peer_that_closes_at_once_is_a_failure() -> None:
    closing = Closing()
    registry = registry_of(gauge("number", ({}, 1)))
    with Bridge(closing.url, registry, interval=0.02) as bridge:
        # A peer may acknowledge what it has not read before it closes, so not the first must fail.
        failures = eventually(lambda: set(bridge.health.failures), bool)
        assert eventually(lambda: len(closing.received), lambda number: number > 1) > 1
    closing.close()
    assert failures
    assert failures <= {"BrokenPipeError", "ConnectionResetError"}


def test_a_broken_connection_is_made_anew_and_nothing_is_lost(sink: Sink) -> None:
    registry = CollectorRegistry()
    number = Counter("number", "help", registry=registry)
    with Bridge(sink.url, registry, interval=0.02):
        for turn in range(1, 6):
            number.inc()
            line = f"number_total {turn}.0"
            assert becomes(lambda line=line: line in sink.lines, True)
            sink._open[-1].shutdown(socket.SHUT_RDWR)
            assert becomes(lambda: len(sink.received), turn + 1)


def test_a_collector_that_raises_is_counted_and_asked_again(sink: Sink) -> None:
    class Broken:
        turns = 0

        def collect(self) -> list[object]:
            Broken.turns += 1
            if Broken.turns < 3:
                raise RuntimeError("not yet")
            return [gauge("number", ({}, 1))]

        def describe(self) -> list[object]:
            return []

    registry = registry_of(gauge("other", ({}, 5)))
    registry.register(Broken())  # type: ignore[arg-type]
    before = failures.counts().get("collector", 0)
    with Bridge(sink.url, registry, interval=0.02):
        assert becomes(lambda: "number 1.0" in sink.lines, True)
    assert "other 5.0" in sink.lines[:20]
    assert failures.counts()["collector"] == before + 2


def test_a_family_that_cannot_be_sent_takes_no_other_with_it(sink: Sink) -> None:
    before = failures.counts().get("bridge.family", 0)
    looks = iter([1.0])  # of which the first one is whether it is a number at all
    value: Any = type("Value", (), {"__float__": lambda self: next(looks)})()
    bad = gauge("bad", ({}, value))
    GraphiteBridge(sink.address, registry_of(bad, gauge("good", ({}, 1.0)))).push()
    assert becomes(lambda: sink.lines, ["good 1.0"]) == ["good 1.0"]
    assert failures.counts()["bridge.family"] == before + 1


def test_a_push_sends_what_there_is_once(sink: Sink) -> None:
    bridge = GraphiteBridge(sink.address, registry_of(gauge("number", ({}, 1.0))))
    for _ in range(3):
        bridge.push()
    assert becomes(lambda: len(sink.lines), 3) == 3


def test_two_series_of_one_path_are_reported(sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    number = Gauge("number", "help", ["at"], registry=registry)
    number.labels("a b").set(1)
    number.labels("a_b").set(2)
    with Bridge(sink.url, registry, interval=0.05):
        assert becomes(lambda: "number.at.a_b 2.0" in sink.lines, True)
        metric = "prom_middleware_bridge_name_collisions"
        assert becomes(lambda: value(page(registry), metric), 1)
    assert "would have another one's name" in caplog.text


def test_it_can_begin_again_and_stop_twice(sink: Sink) -> None:
    bridge = Bridge(sink.url, registry_of(gauge("number", ({}, 1))), interval=60)
    for turn in (1, 2):
        bridge.start()
        bridge.start()
        bridge.stop()
        bridge.stop()
        found = eventually(lambda: sink.lines.count("number 1.0"), turn.__le__)
        assert found >= turn


def test_one_that_begins_again_before_its_end_is_one(sink: Sink) -> None:
    collecting, go_on = threading.Event(), threading.Event()

    class Slow(Families):
        def collect(self) -> Sequence[Metric]:
            collecting.set()
            go_on.wait(20)
            return super().collect()

    registry = CollectorRegistry()
    registry.register(Slow(gauge("number", ({}, 1))))
    bridge = Bridge(sink.url, registry, interval=0.05, jitter=0)
    bridge.start()
    assert collecting.wait(20)
    bridge.stop(timeout=0)
    bridge.start()
    go_on.set()
    assert becomes(lambda: len(_threads(bridge)), 1)
    sent = len(sink.lines)
    assert eventually(lambda: len(sink.lines) > sent, bool), "the second one sends"
    bridge.stop()
    assert _threads(bridge) == []


def _threads(bridge: Bridge) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == f"bridge to {bridge.health.to}"]


def test_the_end_of_the_interpreter_is_one_of_the_bridge(sink: Sink) -> None:
    program = (
        "from prometheus_client import Gauge\n"
        "from prom_middleware.bridge import Bridge\n"
        f"Bridge({sink.url!r}, interval=600, jitter=0).start()\n"
        "Gauge('last', 'help').set(7)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert becomes(lambda: "last 7.0" in sink.lines, True)


def test_the_bridge_of_prometheus_client_starts_and_stops(sink: Sink) -> None:
    bridge = GraphiteBridge(sink.address, registry_of(gauge("number", ({}, 1))))
    bridge.start(0.05, "before")
    assert becomes(lambda: "before.number 1.0" in sink.lines, True)
    bridge.stop()
    assert not [one for one in threading.enumerate() if one.name == f"bridge to {sink.url}"]


@pytest.mark.parametrize(
    "options",
    [
        {"interval": 0},
        {"interval": float("nan")},
        {"jitter": 1},
        {"timeout": -1},
        {"buffer": -1},
        {"to": "graphite://"},
        {"to": "graphite://host:port"},
        {"to": "graphite://host:1/path"},
        {"to": "graphite://joe:secret@host"},
        {"to": "ftp://host:1"},
        {"to": "otlp+http://host:1", "tags": True},
        {"prefix": "the shop"},
        {"prefix": "shop\n"},
        {"prefix": "shop;place=here", "tags": True},
        {"prefix": "shop\udcff"},
    ],
    ids=ascii,
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        Bridge(**{"to": "graphite://127.0.0.1", **options})  # type: ignore[arg-type]


def test_collectors_that_hang_hide_no_other_for_good() -> None:
    class Hanging:
        def collect(self) -> list[Metric]:
            open_again.wait(60)
            return []

    open_again, registry = threading.Event(), CollectorRegistry()
    hanging = [Hanging() for _ in range(6)]
    for collector in hanging:
        registry.register(collector)
    registry.register(Families(gauge("number", ({}, 1))))
    try:
        found = eventually(lambda: families_of(registry, 0.2), bool)
    finally:
        open_again.set()
    assert [family.name for family in found] == ["number"]
