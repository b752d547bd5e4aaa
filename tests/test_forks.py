"""What is to be done in a forked child is done there, and nowhere else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from instrumentation.driver import core
from prom_middleware.bridge import OpenTelemetryReader, StatsdCollector
from prom_middleware.exposition import start_http_server
from prom_middleware.forks import in_child
from prom_middleware.instrumentation import registration
from prom_middleware.runtime import installation
from prom_middleware.stores.turn import Turn
from stores.multiprocess.children import end, fork, run


def test_it_is_called_in_a_child_and_not_in_the_parent() -> None:
    called: list[int] = []

    @in_child
    def renew() -> None:
        called.append(os.getpid())

    def child() -> None:
        assert called == [os.getpid()]

    assert run(child) == 0
    assert called == []


def test_what_a_hook_writes_comes_after_what_the_parent_had_left_is_forgotten() -> None:
    turn, written = Turn(), list[str]()

    @in_child
    def write() -> None:  # as the garbage collector may, whenever it comes
        turn.update(written.append, "the child's")

    # Another thread has left it, and not looked yet who carries it out.
    turn.pending.append((written.append, ("the parent's",)))

    def child() -> None:
        assert written == ["the child's"]

    assert run(child) == 0


@pytest.mark.parametrize("before", ["del os.register_at_fork", "sys.modules['uwsgi'] = None"])
def test_without_fork_and_without_uwsgi_there_is_nothing_to_do(before: str) -> None:
    # What the standard library does at its import is not the question.
    program = f"import os, sys, prometheus_client, asyncio; {before}; import prom_middleware.asgi"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def _metrics() -> tuple[tuple[str, int], Callable[[], object]]:
    server, _ = start_http_server(0, "127.0.0.1", CollectorRegistry())
    return server.server_address, lambda: (server.shutdown(), server.server_close())


def _statsd() -> tuple[tuple[str, int], Callable[[], object]]:
    statsd = StatsdCollector(registry=CollectorRegistry())
    listener = statsd.listen(tcp=("127.0.0.1", 0))
    assert listener.tcp
    return listener.tcp, statsd.stop


@pytest.mark.parametrize("start", [_metrics, _statsd])
def test_a_child_does_not_keep_the_port_on_which_nobody_listens_there(
    start: Callable[[], tuple[tuple[str, int], Callable[[], object]]],
) -> None:
    address, stop = start()
    asked, told = os.pipe()
    child = fork(lambda: (os.write(told, b"here"), signal.pause()))
    try:
        assert os.read(asked, 10) == b"here"
        stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, 10)
        socket.create_server(address).close()
    finally:
        os.kill(child, signal.SIGKILL)
        end(child)
        os.close(asked)
        os.close(told)


def _incoming() -> tuple[Any, Callable[[], object]]:
    statsd = StatsdCollector(registry=CollectorRegistry())
    return statsd._store.lock, lambda: statsd.receive([b"a:1|c"])


def _runtime() -> tuple[Any, Callable[[], object]]:
    return installation._lock, lambda: installation.install(CollectorRegistry())


def _door() -> tuple[Any, Callable[[], object]]:
    return registration._lock, core


def _opentelemetry() -> tuple[Any, Callable[[], object]]:
    pytest.importorskip("opentelemetry.sdk.metrics")
    reader = OpenTelemetryReader(CollectorRegistry())
    return reader._turn, reader.read


@pytest.mark.parametrize("held", [_incoming, _runtime, _door, _opentelemetry])
def test_a_lock_that_a_thread_holds_is_free_in_a_child(
    held: Callable[[], tuple[Any, Callable[[], object]]],
) -> None:
    lock, use = held()
    has_it, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            has_it.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    has_it.wait(60)
    try:
        assert run(lambda: (signal.alarm(20), use())) == 0
    finally:
        done.set()
        thread.join()
