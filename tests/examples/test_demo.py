"""The demo, as `make demo` runs it."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from math import inf, isnan
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ports import free_port

pytestmark = pytest.mark.real

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.py"
ROUTES = {
    "/",
    "/account",
    "/boom",
    "/events",
    "/items/{item_id}",
    "/login/{name}",
    "/report",
    "/slow",
    "<unmatched>",
}
SENT = 600


@pytest.fixture
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(env: dict[str, str], stdout: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(DEMO)], env=env, stdout=stdout, stderr=subprocess.PIPE
    )


def read_until(descriptor: int, words: bytes) -> str:
    read = b""
    while words not in read:
        chunk = os.read(descriptor, 4096)
        assert chunk, f"ended before {words!r}:\n{read.decode()}"
        read += chunk
    return read.decode()


def table(printed: str) -> dict[str, tuple[int, int]]:
    """Return {route: (requests, errors)}."""
    rows = re.findall(r"^(\S+) +(\d+) +(\d+)\b", printed, re.MULTILINE)
    return {route: (int(requests), int(errors)) for route, requests, errors in rows}


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_serves_until_interrupted(terminal: bool, environment: Any) -> None:
    reading, writing = os.openpty() if terminal else os.pipe()
    process = start(environment(), writing)
    os.close(writing)
    try:
        printed = read_until(reading, b"Ctrl-C stops it.").replace("\r\n", "\n")
        port = int(re.findall(r"http://127\.0\.0\.1:(\d+)/metrics", printed)[0])
        assert not refuses(port)
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        os.close(reading)
    assert (process.returncode, errors) == (0, b"")
    assert refuses(port)

    bar = "\r[########################################] 600 of 600 requests"
    assert (bar in printed) is terminal
    assert ("\r" in printed) is terminal
    assert "Counted by 2 workers" in printed
    found = table(printed)
    assert set(found) == ROUTES | {"all"}
    total = found.pop("all")
    assert total == (SENT, found["/boom"][1]) == tuple(map(sum, zip(*found.values(), strict=True)))
    assert found["/boom"][0] == found["/boom"][1] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ended_while_busy_leaves_no_server(number: signal.Signals, environment: Any) -> None:
    process = start(environment(), subprocess.PIPE)
    assert process.stdout is not None
    printed = read_until(process.stdout.fileno(), b"of 600 requests")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert refuses(int(re.findall(r"on port (\d+)", printed)[0]))


def test_time_is_bounded(environment: Any) -> None:
    port = free_port()
    process = start(environment(DEMO_SECONDS="4", PORT=str(port)), subprocess.PIPE)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    assert f"on port {port}" in printed.decode()
    assert refuses(port)


@pytest.mark.parametrize(
    ("name", "value"),
    [("DEMO_SECONDS", "soon"), ("DEMO_SECONDS", "-1"), ("PORT", "http"), ("PORT", "70000")],
)
def test_wrong_number(name: str, value: str, environment: Any) -> None:
    process = start(environment(**{name: value}), subprocess.PIPE)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, printed) == (1, b"")
    assert name in errors.decode()
    assert value in errors.decode()
    assert "Traceback" not in errors.decode()


def test_port_in_use(environment: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = start(environment(PORT=port), subprocess.PIPE)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.decode().startswith(f"PORT={port} cannot be used")


# PromQL's histogram_quantile for the same buckets.
@pytest.mark.parametrize(
    ("q", "buckets", "expected"),
    [
        (0.5, [(1.0, 10.0), (2.0, 10.0), (inf, 10.0)], 0.5),
        (0.5, [(1.0, 4.0), (2.0, 8.0), (inf, 8.0)], 1.0),
        (0.75, [(1.0, 4.0), (2.0, 8.0), (inf, 8.0)], 1.5),
        (0.99, [(1.0, 0.0), (2.0, 0.0), (4.0, 100.0), (inf, 100.0)], 3.98),
        (0.99, [(1.0, 5.0), (2.0, 5.0), (inf, 10.0)], 2.0),
    ],
)
def test_quantile(
    demo: ModuleType, q: float, buckets: list[tuple[float, float]], expected: float
) -> None:
    assert demo.quantile(q, buckets) == pytest.approx(expected)


@pytest.mark.parametrize("buckets", [[], [(inf, 0.0)], [(1.0, 0.0), (inf, 0.0)]])
def test_quantile_of_nothing(demo: ModuleType, buckets: list[tuple[float, float]]) -> None:
    assert isnan(demo.quantile(0.5, buckets))


PAGE = """\
http_requests_total{method="GET",route="/events",status="200"} 4
http_stream_duration_seconds_bucket{route="/events",le="1.0"} 4
http_stream_duration_seconds_bucket{route="/events",le="+Inf"} 4
http_requests_total{method="GET",route="/slow",status="200"} 4
http_request_duration_seconds_bucket{method="GET",route="/slow",status="200",le="0.005"} 2
http_request_duration_seconds_bucket{method="GET",route="/slow",status="200",le="3.0"} 4
http_request_duration_seconds_bucket{method="GET",route="/slow",status="200",le="+Inf"} 4
"""


def test_what_is_in_the_first_bucket_has_its_bound(
    demo: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.show(demo.rows(PAGE))
    printed = capsys.readouterr().out
    assert re.search(r"^/events +4 +0 +≤ 1 s +≤ 1 s$", printed, re.MULTILINE)
    assert re.search(r"^/slow +4 +0 +≤ 5 ms +2\.94 s$", printed, re.MULTILINE)


def test_one_second_is_one(demo: ModuleType) -> None:
    assert [demo.counted(number) for number in (0, 1, 2)] == ["0 seconds", "1 second", "2 seconds"]
