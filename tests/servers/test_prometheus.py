"""A real Prometheus scrapes the five examples, and knows what they were asked."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from metrics import series
from servers.support import HERE, Server, free_port, launched, python, running
from waiting import becomes, eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

EXAMPLES = HERE.parents[1] / "examples"
FRAMEWORKS = {
    "fastapi": "fastapi",
    "flask": "flask",
    "django": "django",
    "wsgi": "prometheus_client",  # needs nothing
    "twisted": "twisted.web",
}
UNMATCHED = "<unmatched>"

# For each example: path, and the route and status it counts as.
TRAFFIC = {
    "fastapi": {
        "/": ("/", 200),
        "/items/7": ("/items/{item_id}", 200),
        "/items/700": ("/items/{item_id}", 404),
        "/account": ("/account", 401),
        "/report": ("/report", 200),
        "/boom": ("/boom", 500),
        "/nowhere": (UNMATCHED, 404),
    },
    "flask": {
        "/": ("/", 200),
        "/items/7": ("/items/<int:item_id>", 200),
        "/items/700": ("/items/<int:item_id>", 404),
        "/account": ("/account", 401),
        "/report": ("/report", 200),
        "/boom": ("/boom", 500),
        "/nowhere": (UNMATCHED, 404),
    },
    "django": {
        "/": ("/", 200),
        "/items/7/": ("/items/<int:item_id>/", 200),
        "/items/700/": ("/items/<int:item_id>/", 404),
        "/account/": ("/account/", 302),
        "/report/": ("/report/", 200),
        "/boom/": ("/boom/", 500),
        "/nowhere": (UNMATCHED, 404),
    },
    "wsgi": {
        "/": (UNMATCHED, 200),
        "/boom": (UNMATCHED, 500),
        "/nowhere": (UNMATCHED, 404),
    },
    "twisted": {
        "/": ("/", 200),
        "/items/7": ("/items/{path}", 200),
        "/items/700": ("/items/{path}", 404),
        "/private/account": ("/private/{path}", 401),
        "/report": ("/report", 200),
        "/boom": ("/boom", 500),
        "/nowhere": (UNMATCHED, 404),
    },
}
TOTAL = "http_requests_total"
SCRAPES = 12  # of each example, before rates are asked for
WINDOW = "30m"  # longer than any session: all that was scraped

Key = tuple[str, str, int]  # example, route, status


class Prometheus:
    """A running Prometheus, and the examples that it scrapes."""

    def __init__(self, server: Server, examples: dict[str, Server]) -> None:
        self.server = server
        self.examples = examples

    def query(self, promql: str) -> list[tuple[dict[str, str], float]]:
        """Return (labels, value) for each series of an instant vector."""
        answer = self.server.client.get("/api/v1/query", params={"query": promql}).json()
        assert answer["status"] == "success", answer
        return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]]

    def requests(self, of: str) -> dict[Key, float]:
        """Return `of` (an expression) for each example, route and status."""
        return {
            (labels["job"], labels["route"], int(labels["status"])): value
            for labels, value in self.query(f"sum by (job, route, status) ({of})")
        }


CONFIGURATION = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
{jobs}
"""
JOB = "- {{job_name: {name}, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}"


@pytest.fixture(scope="session")
def prometheus(
    real_program: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Start all examples, and one Prometheus that has them as its targets from the beginning."""
    program = real_program("prometheus", "prometheus")
    for module in FRAMEWORKS.values():
        pytest.importorskip(module)
    directory = tmp_path_factory.mktemp("prometheus")
    ports = {name: free_port() for name in FRAMEWORKS}
    port = free_port()
    jobs = "\n".join(JOB.format(name=name, port=port) for name, port in ports.items())
    (directory / "prometheus.yml").write_text(CONFIGURATION.format(jobs=jobs))
    with ExitStack() as stack:
        examples = {
            name: stack.enter_context(launched(example(name, port), port))
            for name, port in ports.items()
        }
        for started in examples.values():
            started.wait()
        server = stack.enter_context(running(command(program, directory, port), port, "/-/ready"))
        yield Prometheus(server, examples)


def example(name: str, port: int) -> list[str]:
    return python(str(EXAMPLES / name / "app.py"), "--port", str(port))


def command(program: str, directory: Path, port: int) -> list[str]:
    return [
        program,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]


def send(prometheus: Prometheus, times: Callable[[int], int]) -> Counter[Key]:
    """Send each request of the table as often as `times` says of its place; return the counts."""
    sent: Counter[Key] = Counter()
    for name, requests in TRAFFIC.items():
        client = prometheus.examples[name].client
        for place, (path, (route, status)) in enumerate(requests.items()):
            for _ in range(times(place)):
                assert client.get(path).status_code == status, (name, path)
                sent[name, route, status] += 1
    return sent


@pytest.fixture(scope="session")
def traffic(prometheus: Prometheus) -> tuple[Counter[Key], Counter[Key]]:
    """Return what was sent before Prometheus saw each series, and what after it did.

    A rate is the difference between two samples: what is there at the first one is not in it.
    """
    before = send(prometheus, lambda place: 1)
    seen = becomes(lambda: prometheus.requests(TOTAL), dict(before), 60)
    assert seen == before
    after = send(prometheus, lambda place: 3 + place)
    return before, after


def test_every_example_is_up(prometheus: Prometheus) -> None:
    def up() -> dict[str, float]:
        return {labels["job"]: value for labels, value in prometheus.query("up")}

    expected = dict.fromkeys(FRAMEWORKS, 1.0)
    assert becomes(up, expected, 60) == expected


def test_totals_are_what_was_sent(
    prometheus: Prometheus, traffic: tuple[Counter[Key], Counter[Key]]
) -> None:
    total = traffic[0] + traffic[1]
    seen = becomes(lambda: prometheus.requests(TOTAL), dict(total), 60)
    assert seen == total
    observed = prometheus.requests("http_request_duration_seconds_count")
    assert observed == total
    errors = prometheus.query("sum(http_request_exceptions_total)")
    booms = sum(number for (_, _, status), number in total.items() if status == 500)
    assert errors == [({}, booms)]
    # Some targets answer themselves while they are scraped; no request is left over.
    assert prometheus.query("sum(http_requests_in_progress)") == [({}, 0.0)]


def test_rates_are_what_was_sent(
    prometheus: Prometheus, traffic: tuple[Counter[Key], Counter[Key]]
) -> None:
    before, after = traffic
    fewest = f"min(count_over_time(http_requests_total[{WINDOW}]))"
    becomes(lambda: prometheus.requests(TOTAL), dict(before + after), 60)
    scrapes = eventually(lambda: prometheus.query(fewest)[0][1], lambda n: n >= SCRAPES, 60)
    assert scrapes >= SCRAPES
    increase = prometheus.requests(f"increase(http_requests_total[{WINDOW}])")
    assert increase.keys() == after.keys()
    # Prometheus extrapolates by at most 1.1 scrapes on either side of those that it has.
    most = 1 + 2 * 1.1 / (SCRAPES - 1)
    for key, number in after.items():
        assert number <= increase[key] <= (number + before[key]) * most, key


def test_quantiles_reach_to_the_last_byte(
    prometheus: Prometheus, traffic: tuple[Counter[Key], Counter[Key]]
) -> None:
    """/report sleeps for a tenth of a second while it sends."""
    buckets = f'rate(http_request_duration_seconds_bucket{{route=~"/report/?"}}[{WINDOW}])'
    query = f"histogram_quantile(0.5, sum by (job, le) ({buckets}))"
    expected = set(FRAMEWORKS) - {"wsgi"}
    rows = eventually(
        lambda: prometheus.query(query),
        lambda rows: {labels["job"] for labels, value in rows if value > 0} == expected,
        60,
    )
    assert {labels["job"] for labels, _ in rows} == expected
    for labels, value in rows:
        assert value >= 0.075, labels  # the bucket below that of 0.1


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
@pytest.mark.usefixtures("traffic")
def test_promtool_accepts_every_door(
    name: str, prometheus: Prometheus, real_program: Callable[[str, str], str]
) -> None:
    answer = prometheus.examples[name].client.get("/metrics")
    assert b"http_requests_total{" in answer.content
    assert check(real_program("promtool", "prometheus"), answer.content) == (0, "")


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
