"""What the servers of the package have in common, both really started."""

from __future__ import annotations

import http.client
import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing

import pytest
from prometheus_client import CollectorRegistry

from multiprocess.workers import no_descriptors
from prom_middleware.exposition import listening, start_http_server
from prom_middleware.pushgateway.gateway import Gateway
from prom_middleware.pushgateway.options import GatewayOptions, Setup
from prom_middleware.pushgateway.server import GatewayServer
from stores.multiprocess.children import end, fork


def _metrics() -> int:
    return start_http_server(0, "127.0.0.1", CollectorRegistry())[0].server_port


def _gateway() -> int:
    gateway = Gateway(Setup.from_options(GatewayOptions()), {})
    server = GatewayServer(("127.0.0.1", 0), gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


@pytest.mark.parametrize("start", [_metrics, _gateway])
def test_without_a_free_descriptor_it_does_not_ask_for_one_again_and_again(
    start: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, told = os.pipe()

    def rest(seconds: float) -> None:
        os.write(told, b"rested")
        release()

    def child() -> None:
        monkeypatch.setattr(listening, "sleep", rest)
        port = start()
        limited.enter_context(no_descriptors())
        os.write(told, str(port).encode())
        signal.pause()

    limited = ExitStack()
    release = limited.close
    pid = fork(child)
    try:
        port = int(os.read(asked, 100))
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.request("GET", "/metrics")
            assert connection.getresponse().status == 200
        assert os.read(asked, 100) == b"rested"
    finally:
        os.kill(pid, signal.SIGKILL)
        end(pid)
        os.close(asked)
        os.close(told)
