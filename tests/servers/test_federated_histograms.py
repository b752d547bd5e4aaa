"""Native histograms in /federate: what Prometheus makes of ours, beside what it says itself."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from metrics import series
from prom_middleware import instrument
from prom_middleware.exposition import start_http_server
from prom_middleware.parser import parse
from servers.newer import program
from servers.scrapers import PROTOCOLS, Job, Scraper, prometheus, version
from servers.support import client
from waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.once, pytest.mark.timeout(300)]

DURATION = "http_request_duration_seconds"
ALL = {"match[]": f'{{__name__=~"{DURATION}.*|asked_total"}}'}
PROTOBUF = "PrometheusProto"
PATIENCE = 60.0
GROWTH = 2 ** (1 / 2**3)  # from one bucket of schema 3 to the next
SECONDS = (0.0, 0.0, 0.004, 0.004, 0.03, 0.03, 0.03, 0.08)
each_prometheus = pytest.mark.parametrize("name", ["prometheus", "prometheus3"])


def page(environ: Any, start_response: Any) -> list[bytes]:
    time.sleep(float(environ["PATH_INFO"][1:]))
    start_response("200 OK", [])
    return [b"done"]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Return the port of the metrics of an application that has answered some requests."""
    registry = CollectorRegistry()
    Counter("asked", "Asked.", registry=registry).inc(3)
    app = instrument(page, registry=registry, native_histograms=True)
    for seconds in SECONDS:
        answer = app({"REQUEST_METHOD": "GET", "PATH_INFO": f"/{seconds}"}, lambda *told: print)
        assert b"".join(answer) == b"done"
        answer.close()
    server, thread = start_http_server(0, "127.0.0.1", registry)
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def scraping(path: str, directory: Path, job: Job) -> Iterator[Scraper]:
    # The flag of the first ones became a setting, which those do not know.
    top = {"scrape_native_histograms": True} if version(path) >= (3, 8) else {}
    with prometheus(path, directory, [job], "native-histograms", **top) as scraper:
        yield scraper


def classic(port: int) -> list[tuple[float, float]]:
    """Return the cumulative buckets of the text format: (bound, how many are not above it)."""
    with client(f"http://127.0.0.1:{port}") as http:
        text = http.get("/metrics").text
    found = [(dict(key[1])["le"], value) for key, value in series(text).items() if _bucket(key)]
    return sorted((float(bound), value) for bound, value in found)


def _bucket(key: Any) -> bool:
    return bool(key[0] == f"{DURATION}_bucket")


@each_prometheus
def test_prometheus_federates_native_histograms_from_us(
    port: int, name: str, tmp_path: Path, real_program: Callable[[str, str], str]
) -> None:
    """Quantiles come out of the native buckets, and the classic ones are there beside them."""
    options = {
        "honor_labels": True,
        "metrics_path": "/federate",
        "params": {"match[]": [*ALL.values()]},
    }
    job = Job("ours", PROTOBUF, port, options)
    with scraping(program(name, real_program), tmp_path / "server", job) as scraper:
        counted = eventually(lambda: scraper.query(f"histogram_count({DURATION})"), bool, PATIENCE)
        assert [number for _, number in counted] == [len(SECONDS)]
        buckets = classic(port)
        for quantile in (0.3, 0.6, 0.9, 1.0):  # not between two requests
            ((_, shown),) = scraper.query(f"histogram_quantile({quantile}, {DURATION})")
            # The request of that rank is in one classic and in one native bucket: they overlap.
            rank = quantile * len(SECONDS)
            place = next(n for n, (_, number) in enumerate(buckets) if number >= rank)
            low, high = buckets[place - 1][0] if place else 0.0, buckets[place][0]
            assert low / GROWTH <= shown <= high * GROWTH, (quantile, buckets)
        found = scraper.values(f"{DURATION}_bucket", "le")
        assert {float(bound): value for (bound,), value in found.items()} == dict(buckets)
        ((_, total),) = scraper.query(f"histogram_sum({DURATION})")
        ((_, text),) = scraper.query(f"{DURATION}_sum")
        assert total == text
        assert [number for _, number in scraper.query("asked_total")] == [3]


class Shown(NamedTuple):
    """A native histogram, its buckets by their index."""

    count: float
    sum: float
    schema: int
    zero_threshold: float
    zero_count: float
    buckets: dict[int, float]


def federated(url: str, headers: Mapping[str, str] = {}) -> httpx.Response:
    with client(url) as http:
        return http.get("/federate", params=ALL, headers=dict(headers))


def natives(url: str) -> tuple[list[tuple[str, str]], list[Shown]]:
    """Return the names and types of what is federated as protobuf, and the histograms in it."""
    answer = federated(url, {"Accept": PROTOCOLS[PROTOBUF]})
    families = list(parse(answer.content, answer.headers["content-type"]))
    samples = [one for family in families for one in family.samples]
    assert all(one.timestamp for one in samples)
    histograms = [one.native_histogram for one in samples if one.native_histogram]
    kinds = [(family.samples[0].name, family.type) for family in families]
    return kinds, [_shown(one) for one in histograms]


def _shown(native: Any) -> Shown:
    indexes, at = [], 0
    for offset, length in native.pos_spans:
        indexes += range(at + offset, at + offset + length)
        at += offset + length
    counts = accumulate(native.pos_deltas)
    buckets = {index: count for index, count in zip(indexes, counts, strict=True) if count}
    numbers = (native.count_value, native.sum_value, native.schema)
    return Shown(*numbers, native.zero_threshold, native.zero_count, buckets)


# What a Prometheus is told, to keep both histograms; version 2 has the native one alone.
BOTH: dict[str, dict[str, Any]] = {
    "prometheus": {},
    "prometheus3": {"always_scrape_classic_histograms": True},
}


def histograms_for_people(url: str) -> int:
    """Return how many histograms are federated as protobuf that people can read."""
    answer = federated(url, {"Accept": PROTOCOLS[PROTOBUF].replace("delimited", "text")})
    assert "encoding=text" in answer.headers["content-type"]
    # Go puts blanks and colons there, or not, so that nobody relies on them.
    return len(re.findall(r"^ *histogram:? *\{", answer.text, re.MULTILINE))


@each_prometheus
def test_the_same_histogram_as_prometheus_federates(
    port: int, name: str, tmp_path: Path, real_program: Callable[[str, str], str]
) -> None:
    """Scraped from our /metrics and federated from there, it is as it is federated from us."""
    job = Job("ours", PROTOBUF, port, BOTH[name])
    with scraping(program(name, real_program), tmp_path / "server", job) as scraper:
        url = scraper.server.url
        kinds, (known,) = eventually(lambda: natives(url), lambda found: bool(found[1]), PATIENCE)
        text = federated(url).text
        if name == "prometheus3":  # version 2.42 writes them for programs alone
            assert histograms_for_people(url) == 1
    own, (ours,) = natives(f"http://127.0.0.1:{port}")
    assert histograms_for_people(f"http://127.0.0.1:{port}") == 1
    assert ours == known
    assert own[1] == (DURATION, "histogram")
    # The application knows the type of a counter, which Prometheus has forgotten.
    same = [(one, "unknown" if one == "asked_total" else kind) for one, kind in own]
    assert kinds == (same if BOTH[name] else same[:2])
    # And neither shows it in the text format.
    mine = federated(f"http://127.0.0.1:{port}").text
    assert DURATION not in _names(mine) | _names(text)
    assert _names(mine) == {one for one, _ in own} - {DURATION}


def _names(text: str) -> set[str]:
    return set(re.findall(r"^\w+", text, re.MULTILINE))
