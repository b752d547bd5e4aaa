"""Collectors that are broken, that give garbage, or the same twice: the rest is served."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Summary,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.samples import Sample

from asking import asked, scraped
from exposition.formats.comparing import OPENMETRICS, PROTOBUF
from metrics import series, value
from prom_middleware import failures
from prom_middleware.exposition import scrape


class Collects:
    """A collector that gives what it was made with; without `describe`, as users write them."""

    def __init__(self, *families: Any) -> None:
        self.families = families

    def collect(self) -> Iterable[Any]:
        yield from (one() if callable(one) else one for one in self.families)


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("good", "Good.", registry=registry).set(1)
    return registry


def gauge(name: str = "bad", value: Any = 1.0, **labels: Any) -> Metric:
    family = GaugeMetricFamily("bad", "Bad.")
    family.name = name
    family.samples = [Sample(name, labels, value)]
    return family


def with_type(kind: Any) -> Metric:
    family = gauge()
    family.type = kind
    return family


def timed(timestamp: Any) -> Metric:
    family = gauge()
    family.samples = [family.samples[0]._replace(timestamp=timestamp)]
    return family


def misplaced(kind: str, name: str, label: str) -> Metric:
    """Return a family with a label that another one of its samples has for itself."""
    family = gauge()
    family.type, family.samples = kind, [Sample(name, {label: "1"}, 1.0)]
    return family


def twice() -> Metric:
    family = gauge(a="1")
    family.samples *= 2
    return family


GARBAGE: dict[str, Any] = {
    "no family": 42,
    "none": None,
    "a text": "bad 1",
    "no samples": type("Family", (), {"name": "bad"})(),
    "a type that does not exist": with_type("odometer"),
    "a type that is none": with_type(None),
    "no name": gauge(""),
    "a name that is none": gauge(None),  # type: ignore[arg-type]
    "a name that is no Unicode": gauge("bad\ud800"),
    "a value that is none": gauge(value=None),
    "a value that is text": gauge(value="much"),
    "a label value that is none": gauge(a=None),
    "a label value that is a number": gauge(a=1),
    "a label that is the name": gauge(__name__="bad"),
    "a time in nanoseconds": timed(1.8e18),
    "a time that is no number": timed(float("nan")),
    "a histogram's le at its count": misplaced("histogram", "bad_count", "le"),
    "a histogram's le at its sum": misplaced("histogram", "bad_sum", "le"),
    "a histogram's le at the time of its begin": misplaced("histogram", "bad_created", "le"),
    "a gauge histogram's le at its count": misplaced("gaugehistogram", "bad_gcount", "le"),
    "a summary's quantile at its count": misplaced("summary", "bad_count", "quantile"),
    "a series twice": twice(),
    "a family of somebody else's name": gauge("good"),
    "one that raises": lambda: 1 / 0,
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_left_out_and_counted(registry: CollectorRegistry, garbage: str) -> None:
    registry.register(Collects(gauge("before"), GARBAGE[garbage]))
    registry.register(Collects(gauge("after")))
    failed = sum(failures.counts().values())
    response = scraped(registry)
    samples = series(response.body.decode())
    assert response.status == 200
    assert value(samples, "good") == 1
    assert value(samples, "after") == 1
    assert b"bad" not in response.body
    assert sum(failures.counts().values()) == failed + 1
    strict = scraped(registry, error_handling="http_error")
    assert strict.status == 500
    assert b"An error has occurred while serving metrics:\n\n" in strict.body


def test_labels_of_other_types_are_no_garbage(registry: CollectorRegistry) -> None:
    family = Metric("parts", "Parts.", "histogram")
    family.samples = [
        Sample("parts_bucket", {"le": "+Inf", "quantile": "a"}, 1.0),
        Sample("parts_count", {"quantile": "a"}, 1.0),
        Sample("another", {"le": "1"}, 1.0),
    ]
    registry.register(Collects(family, gauge("sized", le="1", quantile="2")))
    samples = series(scraped(registry).body.decode())
    assert value(samples, "sized", {"le": "1", "quantile": "2"}) == 1
    assert value(samples, "parts_count", {"quantile": "a"}) == 1


@pytest.mark.parametrize("text", ["café\udce9.txt", "\ud800"])
def test_a_value_that_is_no_unicode_is_shown(registry: CollectorRegistry, text: str) -> None:
    family = gauge("read", path=text)
    family.documentation = text
    registry.register(Collects(family))
    samples = series(scraped(registry).body.decode())
    shown = f"{text[:-5]}\ufffddce9.txt" if len(text) > 1 else "\ufffdd800"
    assert value(samples, "read", {"path": shown}) == 1


def test_samples_may_be_a_generator(registry: CollectorRegistry) -> None:
    def family() -> Metric:
        found = gauge("made")
        found.samples = (Sample("made", {"a": str(one)}, one) for one in range(3))
        return found

    registry.register(Collects(family))
    for query in ("", "name[]=made", "match[]=made"):
        samples = series(scraped(registry, query).body.decode())
        assert [value(samples, "made", {"a": str(one)}) for one in range(3)] == [0, 1, 2]


def test_a_generator_of_samples_that_raises_is_left_out(registry: CollectorRegistry) -> None:
    def family() -> Metric:
        found = gauge("bad")
        found.samples = (1 / zero for zero in [0])
        return found

    registry.register(Collects(gauge("before"), family))
    samples = series(scraped(registry).body.decode())
    assert value(samples, "good") == 1


def test_labels_may_be_none(registry: CollectorRegistry) -> None:
    family = gauge("bare")
    family.samples = [Sample("bare", None, 1.0)]  # type: ignore[arg-type]
    registry.register(Collects(family))
    for accept in ("", OPENMETRICS, PROTOBUF):
        for query in ("", "match[]=bare", 'match[]={__name__="bare",a=""}'):
            answer = scrape(registry, asked(query=query, accept=accept))
            assert answer.status == 200
            assert b"bare" in answer.body
    answer = scrape(registry, asked(query="match[]=bare")._replace(path="/federate"))
    assert b"\nbare 1" in answer.body


def test_collect_that_gives_nothing_at_all(registry: CollectorRegistry) -> None:
    broken: Any = type("Broken", (), {"collect": lambda self: None})()
    registry.register(broken)
    assert value(series(scraped(registry).body.decode()), "good") == 1


def test_families_of_one_name_become_one(registry: CollectorRegistry) -> None:
    registry.register(Collects(gauge("shared", a="1"), gauge("other")))
    registry.register(Collects(gauge("shared", a="2")))
    text = scraped(registry).body.decode()
    assert text.count("# TYPE shared ") == 1
    samples = series(text)
    assert samples["shared", frozenset({("a", "1")})] == 1
    assert samples["shared", frozenset({("a", "2")})] == 1


def test_the_later_of_two_that_cannot_be_one_is_left_out(registry: CollectorRegistry) -> None:
    registry.register(Collects(gauge("shared", 1, a="1"), gauge("shared", 2, a="1")))
    registry.register(Collects(CounterMetricFamily("shared", "Another type.", value=3)))
    registry.register(Collects(gauge("shared_total")))
    text = scraped(registry).body.decode()
    assert series(text)["shared", frozenset({("a", "1")})] == 1
    assert text.count("shared{") == 1
    assert "counter" not in text


@pytest.mark.parametrize(
    ("scheme", "shown"),
    [
        ("underscores", {"good", "a_b"}),
        ("values", {"good", "U__a_2e_b", "a_b"}),
        ("allow-utf-8", {"good", "a.b", "a_b"}),
    ],
)
def test_names_that_only_escaping_makes_equal(
    registry: CollectorRegistry, scheme: str, shown: set[str]
) -> None:
    """Two families of one name would spoil the scrape; the first one is shown."""
    registry.register(Collects(gauge("a.b"), gauge("a_b")))
    before = failures.counts().get("collector.garbage", 0)
    accept = f"text/plain;version=1.0.0;escaping={scheme}"
    answer = scrape(registry, asked(accept=accept), None)
    lines = answer.body.decode().splitlines()
    assert {line.split()[2].strip('"') for line in lines if line.startswith("# TYPE")} == shown
    missing = failures.counts().get("collector.garbage", 0) - before
    assert missing == (1 if scheme == "underscores" else 0)


def test_a_sample_may_have_a_name_of_its_own(registry: CollectorRegistry) -> None:
    family = gauge("mine")
    family.add_sample("mine_too", {}, 2)
    registry.register(Collects(family))
    assert value(series(scraped(registry).body.decode()), "mine_too") == 2


def every_metric(registry: CollectorRegistry) -> None:
    """Make one of each kind, with and without labels, with odd names and values."""
    for labels in ((), ("a", "b_c")):
        names = iter(f"m{len(labels)}_{letter}" for letter in "abcdefgh")

        def of(
            make: Callable[..., Any], labels: Any = labels, names: Any = names, **more: Any
        ) -> Any:
            metric = make(next(names), 'Help "\\\n', labels, registry=registry, **more)
            return metric.labels('"\\\n', "\N{SNOWMAN}") if labels else metric

        of(Counter).inc(1e300)
        of(Gauge).set(float("nan"))
        of(Gauge).set_function(lambda: 7)
        of(Summary).observe(-1)
        of(Histogram, buckets=[0.1, 1]).observe(0.5)
        of(Info).info({"version": "1"})
        of(Enum, states=["on", "off"]).state("off")


def test_every_metric_is_as_prometheus_client_shows_it() -> None:
    registry = CollectorRegistry(target_info={"env": "prod"})
    every_metric(registry)
    ours, theirs = scraped(registry).body.decode(), generate_latest(registry).decode()
    assert repr(sorted(map(_one, series(ours).items()))) == repr(
        sorted(map(_one, series(theirs).items()))
    )
    assert sorted(re.findall("^#.*", ours)) == sorted(re.findall("^#.*", theirs))


def _one(item: Any) -> tuple[str, list[Any], str]:
    (name, labels), number = item
    return name, sorted(labels), repr(number)  # a NaN equals nothing


def test_other_registries_are_collected_whole() -> None:
    registry = CollectorRegistry()
    every_metric(registry)
    restricted = registry.restricted_registry(["m0_a_total", "m2_e_bucket"])
    ours, theirs = scraped(restricted).body.decode(), generate_latest(restricted).decode()
    assert series(ours) == series(theirs)
    assert value(series(scraped(Collects(gauge("mine"))).body.decode()), "mine") == 1


def test_a_derived_class_is_asked_as_it_wants(registry: CollectorRegistry) -> None:
    class Doubled(Gauge):
        def collect(self) -> Iterable[Metric]:
            for family in super().collect():
                family.samples = [one._replace(value=2 * one.value) for one in family.samples]
                yield family

    Doubled("doubled", "Doubled.", registry=registry).set(2)
    assert value(series(scraped(registry).body.decode()), "doubled") == 4


def test_a_child_that_comes_while_it_is_scraped_harms_nobody(registry: CollectorRegistry) -> None:
    gauge = Gauge("growing", "Growing.", ["n"], registry=registry)
    gauge.labels("0").set_function(
        lambda: float(len(gauge.labels(str(len(gauge._metrics)))._labelvalues))
    )
    for _ in range(3):
        assert scraped(registry).status == 200
