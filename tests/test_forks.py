"""What is to be done in a forked child is done there, and nowhere else."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from prom_middleware.bridge import StatsdCollector
from prom_middleware.exposition import start_http_server
from prom_middleware.forks import in_child
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


def test_without_fork_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork")
    assert in_child(list) is list


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
