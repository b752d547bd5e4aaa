"""Prometheus' own promtool has nothing to say against what we expose.

What the doors of the examples expose, it is asked in test_scrapers.py.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from check.promtool import promtool_says
from metrics import series
from servers.support import HERE, python

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


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
    assert promtool_says(promtool, exposition) == (0, [])


def test_promtool_remarks_would_be_seen(real_program: Callable[[str, str], str]) -> None:
    promtool = real_program("promtool", "prometheus")
    code, remarks = promtool_says(promtool, b"# TYPE badTotal counter\nbadTotal 1\n")
    assert code != 0
    assert any("badTotal" in remark for remark in remarks)
