"""Pages of real programs, in every format that each has: theirs is what parsers are for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.openmetrics.parser import text_string_to_metric_families as their_openmetrics
from prometheus_client.parser import text_string_to_metric_families as their_text

from check.promtool import promtool_says
from parser.shown import shown
from ports import free_port
from prom_middleware.check import check
from prom_middleware.check.reporting import as_text
from prom_middleware.parser import parse
from servers.examples import FRAMEWORKS, example, send
from servers.newer import newer_program
from servers.scrapers import PROTOCOLS, prometheus, victoria_metrics
from servers.support import Server, client, running

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

Find = Callable[[str, str], str]
TEXT, OPENMETRICS, PROTOBUF = (
    PROTOCOLS[name] for name in ("PrometheusText0.0.4", "OpenMetricsText1.0.0", "PrometheusProto")
)
FORMATS = (TEXT, OPENMETRICS, PROTOBUF)


def read(accept: str, answer: Any) -> list[Any]:
    """Parse a page; what prometheus_client reads too, it reads the same."""
    assert answer.status_code == 200
    content_type = answer.headers["content-type"]
    found = shown(parse(answer.content, content_type))
    if content_type.startswith("text/plain"):
        assert found == shown(their_text(answer.text))
    elif content_type.startswith("application/openmetrics-text"):
        assert found == shown(their_openmetrics(answer.text))
    return found


def families(url: str, formats: tuple[str, ...] = FORMATS) -> list[set[str]]:
    """Return the names of the families of a page in each format."""
    with client(url, keep_alive=False) as asking:
        answers = [(one, asking.get("/metrics", headers={"Accept": one})) for one in formats]
    return [{name for name, *_ in read(*each)} for each in answers]


@contextmanager
def node_exporter(find: Find) -> Iterator[Server]:
    port = free_port()
    program = find("prometheus-node-exporter", "prometheus-node-exporter")
    with running([program, f"--web.listen-address=127.0.0.1:{port}"], port) as server:
        yield server


def test_node_exporter(real_program: Find) -> None:
    with node_exporter(real_program) as server:
        for names in families(server.url):
            assert {"node_load1", "go_goroutines", "node_cpu_seconds"} <= names


def test_prometheus(real_program: Find, tmp_path: Path) -> None:
    program = real_program("prometheus", "prometheus")
    with prometheus(program, tmp_path / "data", []) as scraper:
        for names in families(scraper.server.url):
            assert {"prometheus_build_info", "prometheus_http_requests"} <= names


def test_prometheus_3(tmp_path: Path) -> None:
    with prometheus(newer_program("prometheus3"), tmp_path / "data", []) as scraper:
        for names in families(scraper.server.url):
            assert {"prometheus_build_info", "prometheus_http_requests"} <= names


def test_victoria_metrics(tmp_path: Path) -> None:
    program = newer_program("victoria-metrics")
    with victoria_metrics(program, tmp_path / "data", []) as scraper:
        (names,) = families(scraper.server.url, (TEXT,))
        assert "vm_rows" in names or len(names) > 50


def test_pushgateway(real_program: Find) -> None:
    program = real_program("prometheus-pushgateway", "prometheus-pushgateway")
    port = free_port()
    command = [program, f"--web.listen-address=127.0.0.1:{port}", "--persistence.file="]
    with running(command, port) as server:
        for names in families(server.url):
            assert "pushgateway_build_info" in names


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_our_examples(name: str) -> None:
    pytest.importorskip(FRAMEWORKS[name])
    with example(name) as server:
        server.wait()
        send({name: server}, lambda _: 1)
        for names in families(server.url):
            assert {"http_request_duration_seconds", "http_requests"} <= names


def test_prometheus_client() -> None:
    registry = CollectorRegistry()
    Counter("jobs", "Jobs.", ["queue"], registry=registry).labels("é\n").inc(exemplar={"t": "1"})
    Histogram("latency", "Latency.", unit="seconds", registry=registry).observe(0.2)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        for names in families(f"http://127.0.0.1:{server.server_port}", (TEXT, OPENMETRICS)):
            assert {"jobs", "latency_seconds"} <= names
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_promtool_and_we_remark_the_same_on_node_exporter(real_program: Find) -> None:
    with node_exporter(real_program) as server:
        page = server.client.get("/metrics", headers={"Accept": TEXT}).content
    report = check(page, more=False)
    said = promtool_says(real_program("promtool", "prometheus"), page)
    assert (report.exit_code, as_text(report, "-").splitlines()) == said
