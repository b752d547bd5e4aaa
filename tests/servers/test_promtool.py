"""Prometheus' own promtool has nothing to say against what we expose."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from metrics import series
from servers.examples import FRAMEWORKS, example, send
from servers.support import HERE, python

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def check(promtool: str, exposition: bytes) -> tuple[int, str]:
    """Return promtool's exit code and remarks."""
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=exposition,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    return done.returncode, done.stdout.decode()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_promtool_accepts_every_door(name: str, real_program: Callable[[str, str], str]) -> None:
    promtool = real_program("promtool", "prometheus")
    pytest.importorskip(FRAMEWORKS[name])
    with example(name) as server:
        server.wait()
        send({name: server}, lambda _: 1)
        exposition = server.client.get("/metrics").content
    assert b"http_requests_total{" in exposition
    assert check(promtool, exposition) == (0, "")


# The agreed metrics, each by the name of one of its samples.
SAMPLES = """
    http_requests_total http_request_duration_seconds_bucket http_requests_in_progress
    http_request_body_bytes_total http_response_body_bytes_total http_request_exceptions_total
    http_responses_aborted_total http_request_queue_seconds_bucket
    http_stream_duration_seconds_bucket websocket_connections_total websocket_connections_open
    websocket_connection_duration_seconds_bucket websocket_messages_total
    prom_middleware_errors_total prom_middleware_series_overflow_total
    prom_middleware_scrapes_total prom_middleware_scrape_duration_seconds_bucket
    prom_middleware_workers
"""


def test_promtool_accepts_every_metric(real_program: Callable[[str, str], str]) -> None:
    promtool = real_program("promtool", "prometheus")
    script = python(str(HERE / "every_metric.py"))
    exposition = subprocess.run(script, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    names = {name for name, _ in series(exposition.decode())}
    assert set(SAMPLES.split()) <= names
    assert check(promtool, exposition) == (0, "")


def test_promtool_remarks_would_be_seen(real_program: Callable[[str, str], str]) -> None:
    promtool = real_program("promtool", "prometheus")
    code, remarks = check(promtool, b"# TYPE badTotal counter\nbadTotal 1\n")
    assert code != 0
    assert "badTotal" in remarks
