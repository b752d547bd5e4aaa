"""Real scrapers scrape the five examples in each format, and know what those were asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any, NamedTuple

import pytest

from check.promtool import promtool_says
from metrics import series
from servers.examples import FRAMEWORKS, Key, examples, send
from servers.newer import program
from servers.scrapers import PROTOCOLS, WINDOW, Job, Scraper, prometheus, victoria_metrics
from servers.support import Server
from servers.wire import Exchange, Wire, wires
from waiting import becomes, eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

Run = Callable[..., AbstractContextManager[Scraper]]
PATIENCE = 60.0


class Kind(NamedTuple):
    """A scraper, and the formats that it asks for: a name for each, and the Content-Type."""

    run: Run
    formats: dict[str, str]


OPENMETRICS, TEXT = PROTOCOLS["OpenMetricsText1.0.0"], PROTOCOLS["PrometheusText0.0.4"]
KINDS = {
    "prometheus": Kind(prometheus, {"own": OPENMETRICS, "text": TEXT}),
    "prometheus3": Kind(prometheus, PROTOCOLS),
    "victoria-metrics": Kind(victoria_metrics, {"own": TEXT}),
}
# This one cannot be told what to ask for; here it sends what those before OpenMetrics sent.
OLDER = "text/plain;version=0.0.4;q=1,*/*;q=0.1"
ROWS = [(name, form) for name, kind in KINDS.items() for form in kind.formats]
every_row = pytest.mark.parametrize(("name", "form"), ROWS, ids=[f"{n}-{f}" for n, f in ROWS])
every_scraper = pytest.mark.parametrize("name", KINDS)

TOTAL = "http_requests_total"
SCRAPES = 8  # of each example, before rates are asked for

Place = tuple[str, str, str]  # scraper, format, example


class Scene(NamedTuple):
    """What runs, and what it was sent: before every scraper had seen each series, and after it.

    A rate is the difference between two samples: what is there at the first one is not in it.
    """

    examples: dict[str, Server]
    scrapers: dict[str, Scraper]
    wires: dict[Place, Wire]
    before: Counter[Key]
    after: Counter[Key]


def job(name: str, form: str, app: str, port: int) -> Job:
    told = {"scrape_protocols": [form]} if name == "prometheus3" else {}
    return Job(app, form, port, told)


@pytest.fixture(scope="module")
def scene(
    real_program: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """Start all examples, and all scrapers that are here, each with all of its targets."""
    directory = tmp_path_factory.mktemp("scrapers")
    with ExitStack() as stack:
        servers, laid = stack.enter_context(examples()), stack.enter_context(wires())
        scrapers: dict[str, Scraper] = {}
        watched: dict[Place, Wire] = {}
        for name, kind in KINDS.items():
            try:
                path = program(name, real_program)
            except pytest.skip.Exception:
                continue  # its own tests say so
            jobs = []
            for form in kind.formats:
                for app, server in servers.items():
                    wire = laid.lay(server.port, OLDER if form == "text" else None)
                    watched[name, form, app] = wire
                    jobs.append(job(name, form, app, wire.port))
            scrapers[name] = stack.enter_context(kind.run(path, directory / name, jobs))
        before = send(servers, lambda place: 1)
        for name, scraper in scrapers.items():
            for form in KINDS[name].formats:
                becomes(partial(requests, scraper, form), dict(before), PATIENCE)
        after = send(servers, lambda place: 3 + place)
        yield Scene(servers, scrapers, watched, before, after)


@pytest.fixture
def scraper(name: str, scene: Scene, real_program: Callable[[str, str], str]) -> Scraper:
    """Return the scraper that a test is for."""
    program(name, real_program)
    return scene.scrapers[name]


def requests(scraper: Scraper, form: str, of: str = "%s", name: str = TOTAL) -> dict[Key, float]:
    """Return what `of` makes of a metric, for each example, route and status."""
    query = f"sum by (app, route, status) ({of})" % f'{name}{{format="{form}"}}'
    values = scraper.values(query, "app", "route", "status")
    return {(app, route, int(status)): value for (app, route, status), value in values.items()}


@every_row
def test_every_target_is_up(scraper: Scraper, form: str) -> None:
    def up() -> dict[Any, float]:
        return scraper.values(f'up{{format="{form}"}}', "app")

    expected = {(app,): 1.0 for app in FRAMEWORKS}
    assert becomes(up, expected, PATIENCE) == expected


@every_row
def test_totals_are_what_was_sent(scene: Scene, scraper: Scraper, form: str) -> None:
    total = scene.before + scene.after
    seen = becomes(partial(requests, scraper, form), dict(total), PATIENCE)
    assert seen == total
    assert requests(scraper, form, name="http_request_duration_seconds_count") == total
    selector = f'{{format="{form}"}}'
    errors = scraper.query(f"sum(http_request_exceptions_total{selector})")
    booms = sum(number for (_, _, status), number in total.items() if status == 500)
    assert errors == [({}, booms)]
    # Some targets answer themselves while they are scraped; no request is left over.
    assert scraper.query(f"sum(http_requests_in_progress{selector})") == [({}, 0.0)]


def asked(exchange: Exchange) -> dict[str, str]:
    """Return the parameters of the media type that a scraper likes best."""
    best = exchange.request["accept"].split(",")[0]
    pairs = [part.strip().partition("=") for part in best.split(";")[1:]]
    return {name: value for name, _, value in pairs}


@every_row
@pytest.mark.usefixtures("scraper")
def test_the_format_is_what_was_asked_for(scene: Scene, name: str, form: str) -> None:
    for app in FRAMEWORKS:
        wire = scene.wires[name, form, app]
        exchange = eventually(lambda wire=wire: list(wire.exchanges), bool, PATIENCE)[-1]
        escaping = asked(exchange).get("escaping", "underscores")
        expected = f"{KINDS[name].formats[form]}; escaping={escaping}"
        assert (exchange.status, exchange.headers["content-type"]) == (200, expected), app
        assert wire.complaints == []


@every_row
@pytest.mark.usefixtures("scraper")
def test_answers_are_compressed(scene: Scene, name: str, form: str) -> None:
    for app in FRAMEWORKS:
        wire = scene.wires[name, form, app]
        exchange = eventually(lambda wire=wire: list(wire.exchanges), bool, PATIENCE)[-1]
        assert exchange.request["accept-encoding"] == "gzip"
        assert exchange.headers.get("content-encoding") == "gzip", app
        assert b"http_requests" in exchange.decoded
        assert len(exchange.body) < len(exchange.decoded) / 2
        vary = {field.strip().lower() for field in exchange.headers["vary"].split(",")}
        assert {"accept", "accept-encoding"} <= vary


@every_scraper
def test_rates_are_what_was_sent(scene: Scene, scraper: Scraper, name: str) -> None:
    before, after = scene.before, scene.after
    for form in KINDS[name].formats:
        becomes(partial(requests, scraper, form), dict(before + after), PATIENCE)
        fewest = f'min(count_over_time(http_requests_total{{format="{form}"}}[{WINDOW}]))'
        scrapes = eventually(
            lambda fewest=fewest: scraper.query(fewest)[0][1], lambda n: n >= SCRAPES, PATIENCE
        )
        assert scrapes >= SCRAPES
        increase = requests(scraper, form, f"increase(%s[{WINDOW}])")
        assert increase.keys() == after.keys()
        # Prometheus extrapolates by at most 1.1 scrapes on either side of those that it has.
        most = 1 + 2 * 1.1 / (SCRAPES - 1)
        for key, number in after.items():
            assert number <= increase[key] <= (number + before[key]) * most, (form, key)


@every_scraper
def test_quantiles_reach_to_the_last_byte(scraper: Scraper, name: str) -> None:
    """/report sleeps for a tenth of a second while it sends."""
    buckets = f'rate(http_request_duration_seconds_bucket{{route=~"/report/?"}}[{WINDOW}])'
    query = f"histogram_quantile(0.5, sum by (app, format, le) ({buckets}))"
    apps = set(FRAMEWORKS) - {"wsgi"}
    expected = {(app, form) for app in apps for form in KINDS[name].formats}

    def slow() -> dict[Any, float]:
        values = scraper.values(query, "app", "format")
        # 0.075 is the bound below that of 0.1; there is no number until two scrapes differ.
        return {place: value for place, value in values.items() if value >= 0.075}

    seen = eventually(slow, lambda values: set(values) == expected, PATIENCE)
    assert set(seen) == expected


def test_the_examples_answer_a_person_with_text(scene: Scene) -> None:
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
    for app, server in scene.examples.items():
        answer = server.client.get("/metrics", headers={"Accept": browser})
        assert answer.headers["content-type"].startswith(TEXT), app
        assert series(answer.text)


@pytest.mark.parametrize("app", FRAMEWORKS)
def test_promtool_accepts_every_door(
    scene: Scene, app: str, real_program: Callable[[str, str], str]
) -> None:
    exposition = scene.examples[app].client.get("/metrics").content
    assert b"http_requests_total{" in exposition
    assert promtool_says(real_program("promtool", "prometheus"), exposition) == (0, [])
