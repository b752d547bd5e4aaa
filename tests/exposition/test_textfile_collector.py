"""A real node_exporter reads what `write_to_textfile` and the command line write."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

from metrics import Series, value
from ports import free_port
from prom_middleware.commands.checking import problem
from prom_middleware.exposition import write_to_textfile
from prom_middleware.wsgi import PrometheusMiddleware
from servers.support import Server, running

pytestmark = pytest.mark.real
PREFIX = "--collector."


@pytest.fixture
def node_exporter(
    real_program: Callable[[str, str], str], tmp_path: Path
) -> Iterator[Callable[[], Series]]:
    """Return how to ask a node_exporter that reads `tmp_path` and nothing else."""
    program = real_program("prometheus-node-exporter", "prometheus-node-exporter")
    port = free_port()
    command = [program, f"--web.listen-address=127.0.0.1:{port}"]
    command += [f"{PREFIX}disable-defaults", f"{PREFIX}textfile"]
    command += [f"{PREFIX}textfile.directory={tmp_path}"]
    with running(command, port) as server:
        yield lambda: read(server)


def read(server: Server) -> Series:
    found = server.metrics()
    assert value(found, "node_textfile_scrape_error") == 0
    return found


def test_every_type(node_exporter: Callable[[], Series], tmp_path: Path) -> None:
    registry = CollectorRegistry()
    Counter("job_items", "Items,\nand \\ more.", ["kind"], registry=registry).labels('a\nb"\\').inc(
        3
    )
    Gauge("job_age_seconds", "Age.", registry=registry).set(float("inf"))
    Summary("job_sizes", "Sizes.", registry=registry).observe(2)
    Histogram("job_duration_seconds", "Duration.", registry=registry).observe(0.3)
    write_to_textfile(tmp_path / "job.prom", registry)
    found = node_exporter()
    assert value(found, "job_items_total", {"kind": 'a\nb"\\'}) == 3
    assert value(found, "job_age_seconds") == float("inf")
    assert value(found, "job_sizes_sum") == 2
    assert value(found, "job_duration_seconds_bucket", {"le": "0.5"}) == 1
    assert value(found, "job_duration_seconds_count") == 1


def test_our_own_metrics(node_exporter: Callable[[], Series], tmp_path: Path) -> None:
    registry = CollectorRegistry()
    app = PrometheusMiddleware(
        lambda environ, start: (start("200 OK", []), [b"x"])[1], registry=registry
    )
    response = app({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None)
    assert b"".join(response) == b"x"
    response.close()  # type: ignore[attr-defined]
    write_to_textfile(tmp_path / "app.prom", registry)
    found = node_exporter()
    assert value(found, "http_requests_total", {"status": "200"}) == 1
    assert value(found, "http_request_duration_seconds_count") == 1


def test_what_the_command_line_writes(node_exporter: Callable[[], Series], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "prom_middleware", "textfile", "-o", str(tmp_path / "a.prom")]
    subprocess.run(command, input=b'# TYPE a gauge\na{b="c"} 1', check=True, timeout=60)
    assert value(node_exporter(), "a", {"b": "c"}) == 1
    assert value(node_exporter(), "node_textfile_mtime_seconds") > 0


@pytest.mark.parametrize("text", ["a 1 17\n", "a 1 \n", "# TYPE a gauge \na 1\n"])
def test_a_file_that_node_exporter_refuses_is_seen(
    node_exporter: Callable[[], Series], tmp_path: Path, text: str
) -> None:
    """The check above can fail."""
    assert problem(text.encode())
    (tmp_path / "bad.prom").write_text(text)
    with pytest.raises(AssertionError):
        node_exporter()


def test_names_in_utf_8(node_exporter: Callable[[], Series], tmp_path: Path) -> None:
    registry = CollectorRegistry()
    try:
        gauge = Gauge("rooms.free", "Rooms.", ["hotel.name"], registry=registry)
    except ValueError:
        pytest.skip("this prometheus_client has no names in UTF-8")
    gauge.labels("Löwen").set(3)
    write_to_textfile(tmp_path / "hotel.prom", registry, escaping="underscores")
    assert value(node_exporter(), "rooms_free", {"hotel_name": "Löwen"}) == 3
