"""Federation with real servers: the example as it stands, and /federate beside Prometheus' own."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.utils import floatToGoString

from metrics import value
from ports import free_port
from prom_middleware.exposition import start_http_server
from servers.newer import newer_program, program
from servers.scrapers import Job, Scraper, prometheus
from servers.support import HERE, Server, client, python, running, stop
from waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

EXAMPLE = HERE.parents[1] / "examples" / "federation"
# As in the example: who listens where.
PORTS = {
    "shop-1": 8001,
    "shop-2": 8002,
    "payments": 8003,
    "shop-3": 8004,
    "global": 9090,
    "dc-a": 9091,
    "dc-b": 9092,
    "payments-prometheus": 9093,
    "sender": 9094,
    "victoria": 8428,
}
LISTENING = re.compile(r"(?<=127\.0\.0\.1:)\d+")
RATE = "job:http_requests:rate5m"
ORDERS = f'{RATE}{{job="shop",route="/orders",status="201"}}'
PATIENCE = 60.0


class Copies:
    """The example's files, with ports that are free and an interval that a test can wait for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ports = {name: free_port() for name in PORTS}
        numbers = {str(PORTS[name]): str(port) for name, port in self.ports.items()}
        for source in EXAMPLE.glob("*.yml"):
            text = LISTENING.sub(lambda found: numbers.get(found[0], found[0]), source.read_text())
            (directory / source.name).write_text(text.replace(": 15s", ": 1s"))

    def prometheus(self, program: str, name: str, file: str) -> Any:
        """Run a Prometheus with a file of the example."""
        port, directory = self.ports[name], self.directory
        command = [
            program,
            f"--config.file={directory / file}",
            f"--storage.tsdb.path={directory / name}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
        return running(command, port, "/-/ready")

    def application(self, name: str, module: str) -> Any:
        """Run an application of the example."""
        port = self.ports[name]
        return running(python(str(EXAMPLE / module), "--port", str(port)), port)


class Scene(NamedTuple):
    """The whole example, running; the applications can be restarted by their names."""

    copies: Copies
    applications: dict[str, Server]
    servers: dict[str, Scraper]


@pytest.fixture(scope="module")
def scene(
    real_program: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    pytest.importorskip("fastapi")
    pytest.importorskip("flask")
    program = real_program("prometheus", "prometheus")
    copies = Copies(tmp_path_factory.mktemp("federation"))
    with ExitStack() as stack:
        applications = {
            name: stack.enter_context(copies.application(name, module))
            for name, module in (
                ("shop-1", "shop.py"),
                ("shop-2", "shop.py"),
                ("shop-3", "shop.py"),
                ("payments", "payments.py"),
            )
        }
        servers = {
            name: Scraper(stack.enter_context(copies.prometheus(program, name, file)))
            for name, file in (
                ("dc-a", "dc-a.yml"),
                ("dc-b", "dc-b.yml"),
                ("global", "global.yml"),
                ("payments-prometheus", "payments.yml"),
            )
        }
        yield Scene(copies, applications, servers)


def order(server: Server, times: int) -> None:
    for _ in range(times):
        assert server.client.post("/orders").status_code == 201


def counted(scraper: Scraper, port: int) -> float:
    """Return how many orders a Prometheus knows of an instance."""
    selector = f'http_requests_total{{instance="127.0.0.1:{port}",route="/orders",status="201"}}'
    return sum(value for _, value in scraper.query(selector))


def known(scene: Scene, name: str, centre: str, number: int) -> None:
    port, scraper = scene.copies.ports[name], scene.servers[centre]
    found = eventually(lambda: counted(scraper, port), lambda value: value == number, PATIENCE)
    assert found == number


@pytest.mark.parametrize("file", ["dc-a", "dc-b", "global", "payments", "remote-write"])
def test_promtool_takes_the_configurations(
    real_program: Callable[[str, str], str], file: str
) -> None:
    check_config(real_program("promtool", "prometheus"), EXAMPLE / f"{file}.yml")


def check_config(promtool: str, path: Path) -> None:
    done = subprocess.run(
        [promtool, "check", "config", str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sums_are_right_while_an_application_restarts(scene: Scene) -> None:
    """Every sum of the global server is that of the data centre, before, meanwhile and after."""
    for name in ("shop-1", "shop-2", "shop-3"):
        order(scene.applications[name], 1)  # a rate is the difference to a first sample
        known(scene, name, "dc-b" if name == "shop-3" else "dc-a", 1)
        order(scene.applications[name], 20)
        known(scene, name, "dc-b" if name == "shop-3" else "dc-a", 21)
    instances(scene, "a", 2)
    instances(scene, "b", 1)
    stop(scene.applications["shop-2"].process)
    instances(scene, "a", 1)
    order(scene.applications["shop-1"], 20)
    known(scene, "shop-1", "dc-a", 41)
    with scene.copies.application("shop-2", "shop.py") as restarted:
        instances(scene, "a", 2)
        order(restarted, 10)
        known(scene, "shop-2", "dc-a", 10)
        increases(scene, {"a": 20 + 20 + 20 + 10, "b": 20})
    compared = eventually(lambda: same_sums_at_all_times(scene), lambda n: n > 10, PATIENCE)
    assert compared > 10


def instances(scene: Scene, centre: str, number: int) -> None:
    """See that the global server comes to know how many instances of the shop are up."""
    selector = f'job:up:sum{{job="shop",datacenter="{centre}"}}'
    found = eventually(
        lambda: [value for _, value in scene.servers["global"].query(selector)],
        lambda values: values == [number],
        PATIENCE,
    )
    assert found == [number]


def increases(scene: Scene, expected: Mapping[str, float]) -> None:
    """See that the global rates are those of so many orders, by data centre.

    Prometheus extrapolates to the ends of what it has: about a scrape at each, and at the restart.
    A sum of counters, in the place of a sum of rates, would be off by all that the instance had.
    """
    query = f"sum by (datacenter) ({ORDERS}) * 300"

    def right(found: dict[tuple[str, ...], float]) -> bool:
        return all(
            number * 0.9 <= found.get((name,), 0) <= number * 1.5
            for name, number in expected.items()
        )

    found = eventually(lambda: scene.servers["global"].values(query, "datacenter"), right, PATIENCE)
    assert right(found), found


def same_sums_at_all_times(scene: Scene) -> int:
    """See that what the global server has is what the data centre had then; return how often."""
    compared = 0
    for centre in ("a", "b"):
        above = points(scene.servers["global"], f'{ORDERS[:-1]},datacenter="{centre}"}}[10m]')
        local = points(scene.servers[f"dc-{centre}"], f"{ORDERS}[10m]")
        assert set(above.items()) <= set(local.items())
        assert all(0 <= float(value) < 10 for value in above.values())
        compared += len(above)
    return compared


def points(scraper: Scraper, query: str) -> dict[float, str]:
    (found,) = scraper.ask("/api/v1/query", query=query)["result"]
    return dict(found["values"])


def test_the_global_server_has_sums_alone(scene: Scene) -> None:
    eventually(lambda: scene.servers["global"].query(RATE), bool, PATIENCE)
    found = scene.servers["global"].query('{__name__=~".+"}')
    shown = {labels["__name__"] for labels, _ in found if labels["job"] != "federate"}
    assert RATE in shown
    assert all(name.startswith("job:") for name in shown)
    assert not any("instance" in labels for labels, _ in found if labels["job"] != "federate")
    assert not any(label.startswith("exported_") for labels, _ in found for label in labels)


def test_another_services_series_beside_ones_own(scene: Scene) -> None:
    scraper, payments = scene.servers["payments-prometheus"], scene.applications["payments"]
    order(scene.applications["shop-1"], 1)
    shop = eventually(lambda: scraper.query(ORDERS), bool, PATIENCE)
    assert [labels["datacenter"] for labels, _ in shop] == ["a"]
    up = eventually(lambda: scraper.values('up{job="shop"}', "instance"), bool, PATIENCE)
    assert (f"127.0.0.1:{scene.copies.ports['shop-1']}",) in up

    def ratio() -> list[tuple[dict[str, str], float]]:
        payments.client.post("/payments/7")
        time.sleep(0.2)
        order(scene.applications["shop-1"], 1)
        return scraper.query("payments:paid_orders:ratio_rate5m > 0")

    assert eventually(ratio, bool, PATIENCE)


def test_straight_from_an_application(scene: Scene) -> None:
    scraper, port = scene.servers["payments-prometheus"], scene.copies.ports["shop-1"]
    order(scene.applications["shop-1"], 1)
    query = 'http_requests_total{job="shop-application"}'
    found = eventually(lambda: scraper.query(query), bool, PATIENCE)
    assert {labels["instance"] for labels, _ in found} == {f"127.0.0.1:{port}"}
    assert {labels["route"] for labels, _ in found} == {"/orders"}


# /federate beside Prometheus' own


def made() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("room_celsius", "T.", ["room", "instance"], registry=registry).labels("a", "x").set(20.5)
    asked = Counter("asked", "Asked.", ["who", "job"], registry=registry)
    asked.labels('j"o\\e', "mine").inc(3)
    Histogram("took_seconds", "Took.", buckets=[1, 2], registry=registry).observe(1.5)
    return registry


@contextmanager
def exposed(registry: CollectorRegistry) -> Iterator[int]:
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


FEDERATED = {"match[]": '{__name__=~"room_celsius|asked_total|took_seconds_.*",job!="none"}'}


@pytest.mark.parametrize("name", ["prometheus", "prometheus3"])
def test_the_same_as_what_prometheus_says(
    real_program: Callable[[str, str], str], tmp_path: Path, name: str
) -> None:
    """Scraped, and federated from there, series are as they are federated from us."""
    scraped = {"honor_labels": True}
    with (
        exposed(made()) as port,
        prometheus(
            program(name, real_program), tmp_path / "server", [Job("ours", "all", port, scraped)]
        ) as scraper,
    ):
        known = eventually(lambda: federated(scraper.server.url), bool, PATIENCE)
        ours = federated(f"http://127.0.0.1:{port}")
    # Within a name, Prometheus has them in the order of their labels, and we in that of bounds.
    assert [line.name for line in ours] == [line.name for line in known]
    assert in_order(ours) == in_order(known)
    assert len(ours) == 1 + 1 + 6


def federated(url: str) -> list[Any]:
    with client(url) as http:
        answer = http.get("/federate", params=FEDERATED)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4; charset=utf-8")
    lines = answer.text.splitlines()
    assert all(re.fullmatch(r".* \d{13}", line) for line in lines if not line.startswith("#"))
    return [one for family in text_string_to_metric_families(answer.text) for one in family.samples]


def in_order(samples: list[Any]) -> list[Any]:
    return sorted(map(without_target, samples), key=repr)


def without_target(sample: Any) -> tuple[str, list[tuple[str, str]], float]:
    """Return a sample less what a scrape adds: the target's labels."""
    added = {"app", "format"}
    if sample.labels.get("job") != "mine":
        added.add("job")
    if sample.labels.get("instance") != "x":
        added.add("instance")
    kept = {key: text for key, text in sample.labels.items() if key not in added}
    if "le" in kept:  # Prometheus 3 writes them all as Go writes floats
        kept["le"] = floatToGoString(float(kept["le"]))
    return sample.name, sorted(kept.items()), float(sample.value)


def test_a_scrape_of_it_honors_labels(
    real_program: Callable[[str, str], str], tmp_path: Path
) -> None:
    options = {
        "honor_labels": True,
        "metrics_path": "/federate",
        "params": {"match[]": ["room_celsius", "asked_total", "took_seconds_count"]},
    }
    program = real_program("prometheus", "prometheus")
    with (
        exposed(made()) as port,
        prometheus(program, tmp_path / "server", [Job("ours", "all", port, options)]) as scraper,
    ):
        query = '{__name__=~"room_celsius|asked_total|took_seconds_count"}'
        found = eventually(lambda: scraper.query(query), lambda rows: len(rows) == 3, PATIENCE)
        types = scraper.ask("/api/v1/targets/metadata")
    target = f"127.0.0.1:{port}"
    assert {labels["__name__"]: (labels["job"], labels["instance"]) for labels, _ in found} == {
        "room_celsius": ("ours/all", "x"),
        "asked_total": ("mine", target),
        "took_seconds_count": ("ours/all", target),
    }
    shown = {row["metric"]: row["type"] for row in types}
    assert shown["asked_total"] == "counter"
    assert shown["took_seconds_count"] == "unknown"


# Further than one machine


def test_remote_write_to_victoria_metrics(
    scene: Scene, real_program: Callable[[str, str], str], tmp_path: Path
) -> None:
    program = real_program("prometheus", "prometheus")
    victoria = newer_program("victoria-metrics")
    port = scene.copies.ports["victoria"]
    command = [
        victoria,
        f"-storageDataPath={tmp_path / 'victoria'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-search.latencyOffset=1ms",
        "-loggerLevel=WARN",
    ]
    with (
        running(command, port, "/health") as receiving,
        scene.copies.prometheus(program, "sender", "remote-write.yml"),
    ):
        shop = scene.applications["shop-1"]
        order(shop, 3)
        ordered = value(shop.metrics(), "http_requests_total", {"route": "/orders"})
        scraper = Scraper(receiving)
        query = (
            f'http_requests_total{{job="shop",instance="127.0.0.1:{shop.port}",route="/orders",'
            'datacenter="a",replica="1"}'
        )
        found = eventually(
            lambda: [number for _, number in scraper.query(query)],
            lambda rows: rows == [ordered],
            PATIENCE,
        )
        assert found == [ordered]
