"""Exemplars, native histograms and names in UTF-8, as real scrapers take them in.

From one process, and from several: whichever worker answers shows what all have.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from metrics import value
from ports import free_port
from servers.newer import program
from servers.scrapers import (
    PROTOCOLS,
    WINDOW,
    Job,
    Labels,
    Scraper,
    prometheus,
    version,
    victoria_metrics,
)
from servers.support import Server, python, running
from servers.wire import Wires, wires
from waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

DURATION = "http_request_duration_seconds"
FEATURES = ("exemplar-storage", "native-histograms")
PATIENCE = 60.0
# What Prometheus 2 sends without native histograms, when it does not ask for protobuf.
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

UVICORN = ("-m", "uvicorn", "traced_asgi:app", "--log-level", "warning", "--port")
GUNICORN = ("-m", "gunicorn", "traced_wsgi:app", "--workers", "2", "--bind")
APPS: dict[str, Callable[[int], list[str]]] = {
    "uvicorn": lambda port: python(*UVICORN, str(port)),
    "uvicorn, 2 workers": lambda port: python(*UVICORN, str(port), "--workers", "2"),
    "gunicorn, 2 workers": lambda port: python(*GUNICORN, f"127.0.0.1:{port}"),
}
SINGLE, *SEVERAL = APPS


class Traced:
    """A running application, and the traces of the requests that it was sent."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sampled: dict[str, str] = {}  # trace id: span id
        self.sent = 0
        self._numbers = count(1)

    def work(self, seconds: float, sampled: bool = True) -> int:
        """Send one request of a trace of its own; return the process that answered."""
        number = next(self._numbers)
        trace, span = f"{number:032x}", f"{number:016x}"
        header = {"traceparent": f"00-{trace}-{span}-{sampled:02x}"}
        answer = self.server.client.get(f"/work/{seconds}", headers=header)
        assert answer.status_code == 200, answer
        self.sent += 1
        if sampled:
            self.sampled[trace] = span
        return int(answer.text)

    def buckets(self) -> list[tuple[float, float]]:
        """Return the cumulative buckets: (bound, how many are not above it)."""
        found = self.server.metrics()
        bounds = {dict(labels)["le"] for name, labels in found if name == f"{DURATION}_bucket"}
        return [
            (bound, value(found, f"{DURATION}_bucket", {"le": le}))
            for bound, le in sorted((float(le), le) for le in bounds)
        ]


class Kind(NamedTuple):
    """A scraper; for each format its options, and the Accept header that it shall have sent."""

    run: Callable[..., AbstractContextManager[Scraper]]
    formats: dict[str, dict[str, Any]]
    accept: dict[str, str]


@contextmanager
def prometheus3(program: str, directory: Path, jobs: list[Job]) -> Iterator[Scraper]:
    # The flag of the first ones became a setting, which those do not know.
    top = {"scrape_native_histograms": True} if version(program) >= (3, 8) else {}
    with prometheus(program, directory, jobs, *FEATURES, **top) as scraper:
        yield scraper


@contextmanager
def prometheus2(program: str, directory: Path, jobs: list[Job]) -> Iterator[Scraper]:
    with prometheus(program, directory, jobs, *FEATURES) as scraper:
        yield scraper


PROTOBUF = "PrometheusProto"
KINDS = {
    "prometheus": Kind(
        prometheus2,
        {PROTOBUF: {}, "OpenMetricsText1.0.0": {}},
        {"OpenMetricsText1.0.0": OPENMETRICS},
    ),
    "prometheus3": Kind(
        prometheus3,
        {
            protocol: {"scrape_protocols": [protocol], "always_scrape_classic_histograms": True}
            for protocol in PROTOCOLS
        },
        {},
    ),
    "victoria-metrics": Kind(victoria_metrics, {"PrometheusText0.0.4": {}}, {}),
}
# What can carry an exemplar.
EXEMPLARY = (PROTOBUF, "OpenMetricsText1.0.0")
NATIVE = ("prometheus", "prometheus3")
every_app = pytest.mark.parametrize("app", APPS)


class Scene(NamedTuple):
    apps: dict[str, Traced]
    scrapers: dict[str, Scraper]


def jobs(kind: Kind, apps: dict[str, Traced], laid: Wires) -> Iterator[Job]:
    for form, options in kind.formats.items():
        for app, traced in apps.items():
            port = traced.server.port
            if form in kind.accept:
                port = laid.lay(port, kind.accept[form]).port
            yield Job(app, form, port, options)


@pytest.fixture(scope="module")
def scene(
    real_program: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """Start the applications and the scrapers; send requests before and after the first scrape."""
    directory = tmp_path_factory.mktemp("traced")
    with ExitStack() as stack:
        laid, apps = stack.enter_context(wires()), {}
        for app, command in APPS.items():
            port = free_port()
            apps[app] = Traced(stack.enter_context(running(command(port), port)))
        for traced in apps.values():
            traced.work(0.0)
        scrapers = {}
        for name, kind in KINDS.items():
            try:
                path = program(name, real_program)
            except pytest.skip.Exception:
                continue  # its own tests say so
            targets = list(jobs(kind, apps, laid))
            scrapers[name] = stack.enter_context(kind.run(path, directory / name, targets))
        for name, scraper in scrapers.items():
            expected = len(apps) * len(KINDS[name].formats)
            eventually(lambda s=scraper: seen(s), lambda n, e=expected: n == e, PATIENCE)
        for app, traced in apps.items():
            some_work(traced, workers=1 if app == SINGLE else 2)
        yield Scene(apps, scrapers)


def seen(scraper: Scraper) -> int:
    """Return how many targets have shown their first requests."""
    return len(scraper.query("count by (app, format) (http_requests_total)"))


def some_work(traced: Traced, workers: int) -> None:
    """Take different times, and have every worker do some of it."""
    pids = {traced.work(seconds) for seconds in (0.002, 0.02, 0.06) for _ in range(4)}
    eventually(lambda: pids.add(traced.work(0.002)) or pids, lambda pids: len(pids) >= workers)
    traced.work(0.15, sampled=False)


def scraper_of(scene: Scene, name: str, real_program: Callable[[str, str], str]) -> Scraper:
    program(name, real_program)
    return scene.scrapers[name]


@pytest.fixture
def scraper(name: str, scene: Scene, real_program: Callable[[str, str], str]) -> Scraper:
    """Return the scraper that a test is for."""
    program(name, real_program)
    return scene.scrapers[name]


def selector(app: str, form: str = PROTOBUF) -> str:
    return f'{{app="{app}", format="{form}", route=~"/work/.*"}}'


def complete(scraper: Scraper, traced: Traced, app: str) -> None:
    """Wait until the scraper has all of the requests in its native histogram."""
    counted = f"histogram_count({DURATION}{selector(app)})"
    rows = eventually(lambda: scraper.query(counted), _shows(traced.sent), PATIENCE)
    assert [number for _, number in rows] == [traced.sent]


def _shows(number: float) -> Callable[[list[tuple[Labels, float]]], bool]:
    return lambda rows: [shown for _, shown in rows] == [number]


@every_app
@pytest.mark.parametrize("name", NATIVE)
def test_native_histograms_count_every_request(scene: Scene, scraper: Scraper, app: str) -> None:
    traced = scene.apps[app]
    complete(scraper, traced, app)
    text = value(traced.server.metrics(), f"{DURATION}_sum")
    ((_, total),) = scraper.query(f"histogram_sum({DURATION}{selector(app)})")
    assert total == pytest.approx(text, rel=1e-9)


@every_app
@pytest.mark.parametrize("name", NATIVE)
def test_native_histograms_answer_quantiles(scene: Scene, scraper: Scraper, app: str) -> None:
    traced = scene.apps[app]
    complete(scraper, traced, app)
    buckets = traced.buckets()
    growth = 2 ** (1 / 2**3)  # from one bucket of schema 3 to the next
    for quantile in (0.5, 0.9, 1.0):
        query = f"histogram_quantile({quantile}, {DURATION}{selector(app)})"
        ((_, shown),) = scraper.query(query)
        # The request of that rank is in one classic and in one native bucket, so they overlap.
        place = next(n for n, (_, number) in enumerate(buckets) if number >= quantile * traced.sent)
        low, high = buckets[place - 1][0] if place else 0.0, buckets[place][0]
        assert low / growth <= shown <= high * growth, (quantile, buckets)


@every_app
@pytest.mark.parametrize("name", NATIVE)
def test_native_histograms_have_rates(scene: Scene, scraper: Scraper, app: str) -> None:
    traced = scene.apps[app]
    complete(scraper, traced, app)
    query = f"histogram_quantile(0.9, rate({DURATION}{selector(app)}[{WINDOW}]))"
    rows = eventually(lambda: scraper.query(query), bool, PATIENCE)
    slowest = max(bound for bound, _ in traced.buckets()[:-1])
    assert [labels["app"] for labels, _ in rows] == [app]
    assert all(0 < shown < slowest for _, shown in rows), rows


@every_app
@pytest.mark.parametrize("form", EXEMPLARY)
@pytest.mark.parametrize("name", NATIVE)
def test_exemplars_come_back(
    scene: Scene, scraper: Scraper, name: str, app: str, form: str
) -> None:
    traced = scene.apps[app]
    # Of 0, 2, 20 and 60 milliseconds: three buckets at least have one. Prometheus 2 takes those of
    # a native histogram bucket by bucket, and drops each that is older than the one before.
    least = 1 if (name, form) == ("prometheus", PROTOBUF) else 3
    both = f'{{__name__=~"{DURATION}|{DURATION}_bucket", {selector(app, form)[1:]}'

    def found() -> dict[str, str]:
        return {row["trace_id"]: row["span_id"] for row in scraper.exemplars(both)}

    exemplars = eventually(found, lambda exemplars: len(exemplars) >= least, PATIENCE)
    assert len(exemplars) >= least
    # Of what was sent, and not of the trace that nobody keeps.
    assert exemplars.items() <= traced.sampled.items()


@every_app
def test_classic_buckets_stay_beside_native_ones(
    scene: Scene, app: str, real_program: Callable[[str, str], str]
) -> None:
    scraper, traced = scraper_of(scene, "prometheus3", real_program), scene.apps[app]
    for form in PROTOCOLS:
        query = f"sum by (le) ({DURATION}_bucket{selector(app, form)})"
        expected = dict(traced.buckets())

        def shown(query: str = query) -> dict[float, float]:
            return {float(labels["le"]): number for labels, number in scraper.query(query)}

        assert eventually(shown, lambda s, e=expected: s == e, PATIENCE) == expected, form


# Seconds that no other request takes, for each format: the exemplar of a bucket stays for a while.
ALONE = {PROTOBUF: 0.3, "OpenMetricsText1.0.0": 1.2}


@pytest.mark.parametrize("app", SEVERAL)
@pytest.mark.parametrize("form", EXEMPLARY)
def test_a_worker_shows_what_another_one_has(scene: Scene, app: str, form: str) -> None:
    """The one that knows the trace is stopped while the metrics are asked for."""
    traced = scene.apps[app]
    pid = traced.work(ALONE[form])
    trace = list(traced.sampled)[-1].encode()

    def shown() -> bytes:
        answer = traced.server.client.get("/metrics", headers={"Accept": PROTOCOLS[form]})
        assert answer.status_code == 200
        return answer.content

    # It may record a moment after it has answered.
    eventually(shown, lambda content: trace in content)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert trace in shown()
    finally:
        os.kill(pid, signal.SIGCONT)


# Escaped with underscores where a format, or a scraper, has no such names. With protobuf it is for
# the scraper to say; the first versions of Prometheus 3 do not.
IN_UTF_8 = {"shop.größe": "waren.gruppe"}
ESCAPED = {"shop_gr__e": "waren_gruppe"}
NAMES = [
    *(("prometheus", form, ESCAPED) for form in KINDS["prometheus"].formats),
    ("prometheus3", "PrometheusProto", IN_UTF_8 | ESCAPED),
    ("prometheus3", "OpenMetricsText1.0.0", IN_UTF_8),
    ("prometheus3", "PrometheusText1.0.0", IN_UTF_8),
    ("prometheus3", "OpenMetricsText0.0.1", ESCAPED),
    ("prometheus3", "PrometheusText0.0.4", ESCAPED),
    ("victoria-metrics", "PrometheusText0.0.4", ESCAPED),
]
IDS = [f"{name}-{form}" for name, form, _ in NAMES]


@pytest.mark.parametrize(("name", "form", "names"), NAMES, ids=IDS)
def test_names_in_utf_8(
    scene: Scene, scraper: Scraper, name: str, form: str, names: dict[str, str]
) -> None:
    if "shop" not in scene.apps[SINGLE].server.client.get("/metrics").text:
        pytest.skip("this prometheus_client has no names in UTF-8")
    query = f'{{__name__=~"shop.gr.+", format="{form}", app="{SINGLE}"}}'
    rows = eventually(lambda: scraper.query(query), bool, PATIENCE)
    ((labels, number),) = rows
    assert labels["__name__"] in names
    assert labels[names[labels["__name__"]]] == "Äpfel"
    assert number == 42.0
