"""Real scrapers: their configuration, what they ask for, and what they know."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ports import free_port
from servers.support import Server, running

# A target has half a second less than that to answer: our own rule, so that it can say why not.
INTERVAL = TIMEOUT = "2s"
WINDOW = "30m"  # longer than any test: all that was scraped

# What Prometheus 3 can be told to ask for, by its names for it: the Content-Type that it gets.
PROTOCOLS = {
    "PrometheusProto": "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
    "encoding=delimited",
    "OpenMetricsText1.0.0": "application/openmetrics-text; version=1.0.0; charset=utf-8",
    "OpenMetricsText0.0.1": "application/openmetrics-text; version=0.0.1; charset=utf-8",
    "PrometheusText1.0.0": "text/plain; version=1.0.0; charset=utf-8",
    "PrometheusText0.0.4": "text/plain; version=0.0.4; charset=utf-8",
}
Labels = dict[str, str]


class Job(NamedTuple):
    """One target, and how it is scraped; its series have these names as `app` and `format`."""

    app: str
    format: str
    port: int
    options: Mapping[str, Any] = {}

    def configuration(self) -> dict[str, Any]:
        """Return what a scraper's configuration says of it."""
        labels = {"app": self.app, "format": self.format}
        targets = [{"targets": [f"127.0.0.1:{self.port}"], "labels": labels}]
        return {
            "job_name": f"{self.app}/{self.format}",
            "static_configs": targets,
            **self.options,
        }


class Scraper:
    """A running scraper with the query interface of Prometheus."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer."""
        # `nocache` is for VictoriaMetrics; Prometheus has no such parameter, and ignores it.
        answer = self.server.client.get(path, params={**parameters, "nocache": "1"}).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, promql: str) -> list[tuple[Labels, float]]:
        """Return (labels, value) for each series of an instant vector."""
        rows = self.ask("/api/v1/query", query=promql)["result"]
        return [(row["metric"], float(row["value"][1])) for row in rows]

    def values(self, promql: str, *by: str) -> dict[tuple[str, ...], float]:
        """Return the values of a query by some of its labels; one value for each of them."""
        rows = self.query(promql)
        found = {tuple(labels.get(name, "") for name in by): value for labels, value in rows}
        assert len(found) == len(rows), rows
        return found

    def exemplars(self, selector: str) -> list[Labels]:
        """Return the labels of the exemplars of the last half hour, with their series' labels."""
        now = time.time()
        data = self.ask(
            "/api/v1/query_exemplars", query=selector, start=str(now - 1800), end=str(now + 1800)
        )
        return [
            {**series["seriesLabels"], **exemplar["labels"]}
            for series in data
            for exemplar in series["exemplars"]
        ]


@contextmanager
def prometheus(
    program: str, directory: Path, jobs: Sequence[Job], *features: str, **top: Any
) -> Iterator[Scraper]:
    """Run a Prometheus; `top` goes into the global part of its configuration."""
    directory.mkdir()
    port = free_port()
    common = {"scrape_interval": INTERVAL, "scrape_timeout": TIMEOUT, **top}
    command = [
        program,
        f"--config.file={_written(directory, jobs, common)}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    command += [f"--enable-feature={feature}" for feature in features]
    with running(command, port, "/-/ready") as server:
        yield Scraper(server)


@contextmanager
def victoria_metrics(program: str, directory: Path, jobs: Sequence[Job]) -> Iterator[Scraper]:
    """Run a VictoriaMetrics, a single node that scrapes."""
    directory.mkdir()
    port = free_port()
    common = {"scrape_interval": INTERVAL, "scrape_timeout": TIMEOUT}
    command = [
        program,
        f"-promscrape.config={_written(directory, jobs, common)}",
        f"-storageDataPath={directory / 'data'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-search.latencyOffset=1ms",
        "-loggerLevel=WARN",
    ]
    with running(command, port, "/health") as server:
        yield Scraper(server)


def _written(directory: Path, jobs: Sequence[Job], common: Mapping[str, Any]) -> Path:
    path = directory / "configuration.yml"  # JSON is YAML
    scrapes = [job.configuration() for job in jobs]
    path.write_text(json.dumps({"global": common, "scrape_configs": scrapes}, indent=1))
    return path


def version(program: str) -> tuple[int, int]:
    """Return the version of a Prometheus."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    found = re.search(r"version (\d+)\.(\d+)", said.stdout + said.stderr)
    assert found, said
    return int(found[1]), int(found[2])
