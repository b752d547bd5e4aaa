"""The programs of the text that the project began with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metrics import series, value

pytestmark = pytest.mark.real

LINES = (
    "# HELP example_gauge An example gauge",
    "# TYPE example_gauge gauge",
    "example_gauge -0.7",
    "a_small_gauge 8.3e-96",
    "# TYPE my_counter_total counter",
    "my_counter_total 14.0",
    "# TYPE my_summary summary",
    "my_summary_count 19.0",
    "my_summary_sum 0.6",
    "# TYPE latency_seconds histogram",
    'latency_seconds_bucket{le="0.1"} 7.0',
    'latency_seconds_bucket{le="+Inf"} 29.0',
    "latency_seconds_count 29.0",
    "latency_seconds_sum 0.6",
    "# TYPE my_untyped untyped",
    'my_requests_total{method="GET",path="/"} 3.0',
    'my_requests_total{method="POST",path="/한글"} 1.0',
    r'# HELP my_escapes One \\ backslash,\na line feed and a "quote"',
    r'my_escapes{text="C:\\DIR\nsaid \"hi\""} 1.0',
    'my_past{place="here"} 22.5 1670000000500',
)


def test_parser_program(run: Any) -> None:
    printed = "Name: counter_total Labels: {} Value: 1.0\n"
    assert run("seed/4-14-parse.py") == printed


def test_wsgi_program_answers_by_itself_and_hands_on_metrics(serve: Any) -> None:
    client = serve("seed/4-1-wsgi.py").client
    assert client.get("/").text == "Hello World"
    assert client.get("/metric").text == "Hello World"
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert value(series(response.text), "python_info") == 1


def test_http_server_program_counts_up(serve: Any, eventually: Any) -> None:
    program = serve("seed/4-3-httpserver.py")
    first = value(program.metrics(), "my_counter_total")
    more = eventually(program.metrics, lambda found: value(found, "my_counter_total") > first)
    assert first >= 1
    assert value(more, "my_counter_total") > first
    assert value(more, "python_info") == 1


def test_exposition_program_prints_types_labels_escapes_and_timestamps(run: Any) -> None:
    printed = run("seed/4-7-exposition.py").splitlines()
    assert [line for line in LINES if line not in printed] == []
    assert len(printed) == len(set(printed))


def test_exposition_program_serves_what_it_prints(run: Any, serve: Any) -> None:
    printed = run("seed/4-7-exposition.py")
    assert serve("seed/4-7-exposition.py").client.get("/metrics").text == printed


def test_exposition_program_writes_for_the_textfile_collector(run: Any, tmp_path: Path) -> None:
    target = tmp_path / "my.prom"
    assert run("seed/4-7-exposition.py", "--textfile", str(target)) == ""
    assert target.read_text(encoding="utf-8") == run("seed/4-7-exposition.py")
    assert list(tmp_path.iterdir()) == [target]
