"""The programs in examples/bridge/, with another side each."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from bridge.systems import Sink
from examples.conftest import EXAMPLES, clean_environment
from ports import free_port
from waiting import becomes, eventually

pytestmark = pytest.mark.real


@contextmanager
def running(program: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "bridge" / program, *arguments], env=clean_environment()
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def test_a_registry_goes_to_graphite() -> None:
    sink = Sink()
    with running("graphite.py", "--address", f"127.0.0.1:{sink.address[1]}", "--tags"):
        found = eventually(lambda: sink.text, lambda text: "shop.sold_total;title=Emma" in text)
    assert "shop.wait_seconds_bucket;le=_Inf" in found
    sink.close()


def test_statsd_and_opentelemetry_are_on_one_page() -> None:
    port, statsd = free_port(), free_port()
    with running("statsd.py", "--port", str(port), "--statsd", str(statsd)):
        assert becomes(lambda: _sent(statsd), True, 60.0)
        with httpx.Client(trust_env=False) as client:
            url = f"http://127.0.0.1:{port}/metrics"
            assert eventually(lambda: _answers(client, url), bool, 60.0)
            text = eventually(lambda: client.get(url).text, lambda text: "shop_sold_total{" in text)
    assert 'shop_sold_total{title="Emma",what="books"} 3.0' in text
    assert 'visits_total{door="front",otel_scope_name="shop"} 1.0' in text
    assert "debug" not in text


def _sent(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(b"shop.books.sold:3|c|#title:Emma\nshop.debug.x:1|c\n")
        return True
    return False


def _answers(client: httpx.Client, url: str) -> bool:
    with suppress(httpx.TransportError):
        return client.get(url).status_code == 200
    return False
