"""Sockets under bad senders: what is lost is counted, and memory stays where it is."""

from __future__ import annotations

import math
import resource
import socket
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from bridge.incoming.sending import sample, shown
from prom_middleware.bridge import StatsdCollector
from prom_middleware.bridge.incoming.lines import Lines
from prom_middleware.bridge.incoming.listener import Listener
from prom_middleware.bridge.incoming.values import KEPT, Summary, Windows
from prom_middleware.bridge.pace import Pace
from waiting import becomes, eventually

LOCAL = ("127.0.0.1", 0)


class Receiving:
    def __init__(self, **limits: int) -> None:
        self.lines: list[bytes] = []
        self.lost: Counter[str] = Counter()
        self.listener = Listener(self.receive, self.lose, udp=LOCAL, tcp=LOCAL, **limits)

    def receive(self, lines: list[bytes]) -> int:
        self.lines.extend(lines)
        return 0

    def lose(self, reason: str, number: int) -> None:
        self.lost[reason] += number

    def connect(self) -> socket.socket:
        assert self.listener.tcp
        return socket.create_connection(self.listener.tcp, 20)


@pytest.fixture
def receiving() -> Iterator[Receiving]:
    receiving = Receiving(longest_line=100, connections=3)
    yield receiving
    receiving.listener.stop()


@given(st.binary(max_size=200).map(lambda text: text.replace(b"x", b"\n")), st.data())
def test_a_stream_is_cut_into_lines_however_it_arrives(content: bytes, data: st.DataObject) -> None:
    lost: list[int] = []
    lines = Lines(5, lambda: lost.append(1))
    found, rest = [], content
    while rest:
        size = data.draw(st.integers(1, 40))
        found += lines.feed(rest[:size])
        rest = rest[size:]
    found += lines.end()
    whole = content.split(b"\n")
    if not whole[-1]:
        whole.pop()
    assert found == [line for line in whole if len(line) <= 5]
    assert len(lost) == sum(len(line) > 5 for line in whole)


def test_a_line_may_be_as_long_as_was_agreed() -> None:
    lost: list[int] = []
    lines = Lines(5, lambda: lost.append(1))
    assert lines.feed(b"12345") == []
    assert lines.feed(b"\n123456\n1234") == [b"12345"]
    assert lines.feed(b"5\n") == [b"12345"]
    assert len(lost) == 1


def test_a_line_without_an_end_takes_no_memory(receiving: Receiving) -> None:
    chunk = b"x" * (1 << 20)
    with receiving.connect() as connection:
        connection.sendall(chunk)
        assert becomes(lambda: receiving.lost["line_too_long"], 1) == 1
        tracemalloc.start()
        for _ in range(100):
            connection.sendall(chunk)
        connection.sendall(b"\nafter\n")
        assert becomes(lambda: receiving.lines, [b"after"]) == [b"after"]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 5 << 20
    assert receiving.lost == {"line_too_long": 1}


@pytest.mark.parametrize(("speaking", "silent"), [((1, 2), 0), ((1, 2, 0), 1)])
def test_the_connection_that_is_silent_longest_makes_room(
    receiving: Receiving, speaking: tuple[int, ...], silent: int
) -> None:
    connections = [receiving.connect() for _ in range(3)]
    for number, place in enumerate(speaking, 1):
        connections[place].sendall(b"%d\n" % place)
        assert becomes(lambda: len(receiving.lines), number) == number
    connections.append(receiving.connect())
    connections[3].sendall(b"last\n")
    assert becomes(lambda: b"last" in receiving.lines, True)
    assert receiving.lost == {"too_many_connections": 1}
    assert connections[silent].recv(1) == b""
    connections[2].sendall(b"still\n")
    assert becomes(lambda: b"still" in receiving.lines, True)
    for connection in connections:
        connection.close()


def test_half_a_line_is_lost_and_counted_where_its_sender_goes_on() -> None:
    receiving = Receiving(connections=1)
    with receiving.connect() as first:
        first.sendall(b"a:1|c\na:2")
        assert becomes(lambda: receiving.lines, [b"a:1|c"])
        with receiving.connect() as second:
            assert becomes(lambda: receiving.lost["unfinished_line"], 1) == 1
            second.sendall(b"b:1|c\nb:2")
            assert becomes(lambda: receiving.lines, [b"a:1|c", b"b:1|c"])
            receiving.listener.stop()
    assert receiving.lines == [b"a:1|c", b"b:1|c"]
    assert receiving.lost == {"too_many_connections": 1, "unfinished_line": 2}


def test_what_was_sent_before_the_end_is_read(receiving: Receiving) -> None:
    assert receiving.listener.udp
    with receiving.connect() as connection, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        connection.sendall(b"first\nunfinished")
        assert becomes(lambda: receiving.lines, [b"first"])
        connection.shutdown(socket.SHUT_RDWR)
        for number in range(500):
            datagrams.sendto(b"%d" % number, receiving.listener.udp)
        receiving.listener.stop()
    assert {b"unfinished", b"99"} <= set(receiving.lines)


def test_datagrams_that_the_kernel_dropped_are_counted() -> None:
    began, go_on = threading.Event(), threading.Event()
    lost: Counter[str] = Counter()
    received: list[bytes] = []

    def receive(lines: list[bytes]) -> int:
        received.extend(lines)
        began.set()
        go_on.wait(20)
        return 0

    listener = Listener(receive, lambda reason, number: lost.update({reason: number}), udp=LOCAL)
    assert listener.udp
    with socket.socket(type=socket.SOCK_DGRAM) as sending:
        sending.sendto(b"first", listener.udp)
        assert began.wait(20)
        for _ in range(3000):
            sending.sendto(b"x" * 1400, listener.udp)
        go_on.set()
        assert eventually(lambda: _arrived(sending, listener, received), bool)
        listener.stop()
    if not lost:
        pytest.skip("this system does not tell of what it drops")
    assert received.count(b"x" * 1400) + lost["datagram_dropped"] >= 3000


def _arrived(sending: socket.socket, listener: Listener, received: list[bytes]) -> bool:
    assert listener.udp
    sending.sendto(b"last", listener.udp)
    return b"last" in received


def test_an_address_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    taken = Receiving()
    with pytest.raises(OSError, match="in use"):
        Listener(lambda lines: 0, taken.lose, udp=LOCAL, tcp=taken.listener.tcp)
    taken.listener.stop()


def test_one_bad_batch_does_not_end_it() -> None:
    lines: list[bytes] = []
    raised = threading.Event()

    def receive(batch: list[bytes]) -> int:
        if batch == [b"bad"]:
            raised.set()
            raise RuntimeError("ours")
        lines.extend(batch)
        return 0

    with Listener(receive, lambda reason, number: None, udp=LOCAL) as listener:
        assert listener.udp
        with socket.socket(type=socket.SOCK_DGRAM) as sending:
            sending.sendto(b"bad", listener.udp)
            assert raised.wait(20)
            sending.sendto(b"good", listener.udp)
            assert becomes(lambda: lines, [b"good"]) == [b"good"]


@pytest.mark.once
@pytest.mark.no_cover  # 105,000 lines, which are all alike
def test_a_flood_of_names_is_bounded_and_counted() -> None:
    """More than 100,000 names; the listener takes its time for those that are refused."""
    registry = CollectorRegistry()
    receiver = StatsdCollector(registry=registry, max_series=1000)
    listener = receiver.listen(tcp=LOCAL, udp=LOCAL)
    assert listener.tcp
    before = _resident()
    with socket.create_connection(listener.tcp, 20) as connection:
        connection.sendall(b"".join(_names(0, 5000)))
        assert becomes(lambda: receiver._samples, 1000, 60.0) == 1000
        for begin in range(5000, 105_000, 1000):
            receiver.receive(_names(begin, begin + 1000))
        connection.sendall(b"name.1:1|c|#tag:1\n")
    assert becomes(lambda: receiver._samples, 1001, 60.0) == 1001
    receiver.stop()
    samples, lost = shown(registry, receiver)
    assert len(samples) == 1000
    assert samples[sample("name_1_total", tag="1")] == 2
    assert lost == {"series_limit": 104_000}
    assert _resident() - before < 100 << 20


def _names(begin: int, end: int) -> list[bytes]:
    return [b"name.%d:1|c|#tag:%d\n" % (one, one) for one in range(begin, end)]


def _resident() -> int:
    """Return the bytes that this process has in memory, 0 where that is not told."""
    with suppress(OSError), open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
    return 0


def test_names_that_are_refused_are_not_kept() -> None:
    """Else the garbage collector takes them for what stays, and looks at everything more often."""
    registry = CollectorRegistry()
    receiver = StatsdCollector(registry=registry, max_series=10)
    receiver.receive([b"name.%d:1|c" % number for number in range(5000)])
    assert len(receiver._resolved) == 10
    known = StatsdCollector(registry=CollectorRegistry())
    known.receive([b"name.%d:1|c" % number for number in range(5000)])
    assert len(known._resolved) == 1000


def test_series_that_never_expire_are_not_looked_at() -> None:
    from prom_middleware.bridge.incoming.series import Store, Target
    from prom_middleware.bridge.incoming.values import Gauge

    now = [100.0]
    store = Store(10, lambda: now[0])
    store.find(Target("for_ever", "gauge", "", 0.0, Gauge), {})
    assert store._expires == math.inf
    for ttl in (30.0, 20.0):
        store.find(Target("number", "gauge", "", ttl, Gauge), {"ttl": str(ttl)})
    assert store._expires == 120.0
    now[0] = 125.0
    assert [family.name for family in store.families()] == ["for_ever", "number"]
    assert store._expires == 130.0
    now[0] = 135.0
    assert [family.name for family in store.families()] == ["for_ever"]
    assert (store._expires, store.count) == (math.inf, 1)


def test_series_that_expire_make_room() -> None:
    from prom_middleware.bridge.incoming.series import RefusedError, Store, Target
    from prom_middleware.bridge.incoming.values import Gauge

    now = [100.0]
    store = Store(2, lambda: now[0])
    target = Target("number", "gauge", "", 10.0, Gauge)
    for label in ("a", "b"):
        store.find(target, {"label": label})
    with pytest.raises(RefusedError, match="series_limit"):
        store.find(target, {"label": "c"})
    now[0] = 109.0
    store.find(target, {"label": "b"})
    now[0] = 111.0
    store.find(target, {"label": "c"})
    assert {
        tuple(one.labels.values()) for family in store.families() for one in family.samples
    } == {
        ("b",),
        ("c",),
    }
    now[0] = 200.0
    assert not list(store.families())
    store.find(Target("number", "set", "", 0.0, Gauge), {})  # the name is free again


def test_quantiles_of_many_observations_are_near_and_take_no_memory() -> None:
    now = [0.0]
    summary = Summary((0.5, 0.9), Windows(60, 3), lambda: now[0])
    for number in range(20_000):
        summary.observe(number / 20_000, 1)
    summary.observe(0.5, 10**9)
    shown = {labels.get("quantile", suffix): value for suffix, labels, value in summary.samples()}
    assert shown["_count"] == 20_000 + 10**9
    assert abs(shown["0.5"] - 0.5) < 0.15
    assert len(summary._parts[-1]._chosen) == KEPT
    now[0] = 100.0
    later = {labels.get("quantile", suffix): value for suffix, labels, value in summary.samples()}
    assert later["0.5"] != later["0.5"], "nothing was observed of late"
    assert later["_count"] == shown["_count"]


def test_quantiles_of_many_observations_are_not_those_of_the_first() -> None:
    summary = Summary((0.5,), Windows(), lambda: 0.0)
    for value, times in ((1.0, KEPT), (9.0, 20 * KEPT)):
        for _ in range(times):
            summary.observe(value, 1)
    assert next(iter(summary.samples()))[2] == 9.0


def test_a_part_of_the_window_weighs_what_was_observed_in_it() -> None:
    now = [0.0]
    summary = Summary((0.85,), Windows(60, 3), lambda: now[0])
    for seconds, value, times in ((0.0, 1.0, 10 * KEPT), (20.0, 9.0, KEPT)):
        now[0] = seconds
        for _ in range(times):
            summary.observe(value, 1)
    assert next(iter(summary.samples()))[2] == 1.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=KEPT), st.floats(0, 1))
def test_quantiles_of_few_observations_are_exact(values: list[float], quantile: float) -> None:
    summary = Summary((quantile,), Windows(), lambda: 0.0)
    for one in values:
        summary.observe(one, 1)
    shown = next(iter(summary.samples()))[2]
    at_or_below = sum(one <= shown for one in values)
    below = sum(one < shown for one in values)
    assert shown in values
    assert at_or_below >= quantile * len(values) - 1e-6
    assert below <= quantile * len(values) + 1e-6


def test_what_is_refused_is_told_to_the_listener() -> None:
    receiver = StatsdCollector(registry=None, max_series=1)
    assert receiver.receive([b"one:1|c", b"one:2|c"]) == 0
    assert receiver.receive([b"two:1|c", b"one:1|c", b"no line", b"\xff"]) == 3


def test_the_thread_rests_longer_for_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(Pace, "pause", lambda self, for_nothing=0.0: rests.append(for_nothing))
    refused = {b"all": 2, b"half": 1}

    def receive(lines: list[bytes]) -> int:
        return refused.get(lines[0], 0)

    with (
        Listener(receive, lambda reason, number: None, udp=LOCAL) as listener,
        socket.socket(type=socket.SOCK_DGRAM) as sending,
    ):
        assert listener.udp
        sending.sendto(b"none\nother", listener.udp)
        assert eventually(lambda: len(rests), bool)
        assert set(rests) == {0.0}
        for name, share in ((b"half", 0.5), (b"all", 1.0)):
            sending.sendto(name + b"\nother", listener.udp)
            assert becomes(lambda: max(rests), share) == share
