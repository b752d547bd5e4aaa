"""Families that fail when a part of them is written already: any number, and the rest is served."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.samples import Sample

from asking import asked
from exposition.formats.comparing import OPENMETRICS, PROTOBUF
from metrics import series, value
from prom_middleware import failures
from prom_middleware.exposition import scrape

MANY = 30


class Failing:
    """A collector of families of which the last sample cannot be written: its labels are one."""

    def collect(self) -> Iterator[Metric]:
        for number in range(MANY):
            family = Metric(f"failing_{number}", "Failing.", "gauge")
            labels = [*({"at": str(at)} for at in range(100)), {"a.b": "1", "a_b": "2"}]
            family.samples = [Sample(family.name, one, 1.0) for one in labels]
            yield family


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("first", "First.", registry=registry).set(1)
    registry.register(Failing())  # type: ignore[arg-type]
    last = Gauge("last", "Last.", ["at"], registry=registry)
    for at in range(1000):
        last.labels(str(at)).set(1)
    return registry


@pytest.mark.parametrize("accept", ["", OPENMETRICS, PROTOBUF])
def test_any_number_of_families_may_fail_in_their_middle(
    registry: CollectorRegistry, accept: str
) -> None:
    failed = failures.counts().get("collector.garbage", 0)
    for _ in range(2):
        answer = scrape(registry, asked(accept=accept))
        assert answer.status == 200
        assert b"first" in answer.body
        assert answer.body.count(b"last") >= 1
        assert b"failing" not in answer.body
    assert failures.counts()["collector.garbage"] == failed + 2 * MANY


def test_what_is_sent_is_whole_and_coded_once(registry: CollectorRegistry) -> None:
    answer = scrape(registry, asked(accept_encoding="gzip"))
    samples = series(gzip.decompress(answer.body).decode())
    assert len(samples) == 1001
    assert value(samples, "last") == 1000


def test_a_federation_is_whole_as_well(registry: CollectorRegistry) -> None:
    request = asked(query='match[]={__name__=~".%2B"}')._replace(path="/federate")
    answer = scrape(registry, request)
    assert answer.status == 200
    assert len(series(answer.body.decode())) == 1001
