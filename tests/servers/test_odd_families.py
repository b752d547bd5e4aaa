"""Families that a real Prometheus would refuse a whole page for: the rest of it is always there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import prometheus_client.samples
import pytest
from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.samples import Exemplar, Sample

from asking import asked
from prom_middleware.exposition import scrape
from servers.newer import program
from servers.scrapers import PROTOCOLS, Job, Scraper, prometheus
from serving import Page, serving
from waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

TEXT, OPENMETRICS, PROTOBUF = (
    PROTOCOLS[name] for name in ("PrometheusText0.0.4", "OpenMetricsText1.0.0", "PrometheusProto")
)
CLASSIC = (TEXT, OPENMETRICS, PROTOBUF)
SCHEMES = ("dots", "values", "allow-utf-8")
WITH_SCHEMES = tuple(
    f"{form}; escaping={scheme}" for form in (OPENMETRICS, PROTOBUF) for scheme in SCHEMES
)
IN_UTF_8 = (f"{PROTOCOLS['PrometheusText1.0.0']}; escaping=allow-utf-8", *WITH_SCHEMES)
FORMS = {"prometheus": CLASSIC, "prometheus3": (*CLASSIC, *IN_UTF_8)}
PATIENCE = 90.0


def family(name: str, kind: str, *samples: Sample, unit: str = "") -> Metric:
    """Return a family with any name and unit."""
    found = Metric("a", "Help.", kind)
    found.name, found.unit, found.samples = name, unit, list(samples)
    return found


def one(name: str, unit: str = "", kind: str = "gauge", sample: str = "", **changes: Any) -> Metric:
    """Return a family with one sample."""
    return family(name, kind, Sample(sample or name, {}, 1.0)._replace(**changes), unit=unit)


def native(**changes: Any) -> Metric:
    histogram = prometheus_client.samples.NativeHistogram(
        **{
            "count_value": 1,
            "sum_value": 6.0,
            "schema": 0,
            "zero_threshold": 0.001,
            "zero_count": 0,
            "pos_spans": (prometheus_client.samples.BucketSpan(0, 2),),
            "pos_deltas": (0.5, 0.0),
            "neg_spans": None,
            "neg_deltas": None,
            **changes,
        }
    )
    return family("x", "histogram", Sample("x", {}, 0.0, None, None, histogram))


def parts(kind: str, label: str, ending: str) -> Metric:
    first = "x_bucket" if kind == "histogram" else "x"
    rest = [Sample(f"x_{one}", {label: "1"}, 1.0) for one in ("count", "sum")]
    return family("x", kind, Sample(first, {label: ending}, 1.0), *rest)


NAN = float("nan")
FAMILIES: dict[str, Callable[[], Metric]] = {
    "a unit that is no name": lambda: one("speed_m/s", "m/s"),
    "a unit that is escaped": lambda: one("wind.speed_meters_per_second", "meters_per_second"),
    "a unit with a quote": lambda: one('a_b"c', 'b"c'),
    "a unit with a line feed": lambda: one("a_b\nc", "b\nc"),
    "a unit of an info": lambda: one("a_seconds", "seconds", "info", "a_seconds_info"),
    "a time in nanoseconds": lambda: one("x", timestamp=1.8e18),
    "a time before 1970": lambda: one("x", timestamp=-5.5),
    "a label that is the name": lambda: one("x", labels={"__name__": "y"}),
    "le at a count": lambda: parts("histogram", "le", "+Inf"),
    "quantile at a count": lambda: parts("summary", "quantile", "0.5"),
    "NUL in a name": lambda: one("a\0b"),
    "NUL in a label's name": lambda: one("x", labels={"a\0b": "1"}),
    "a value that is no text": lambda: one("x", labels={"path": "caf\udce9.txt"}),
    "an exemplar at no time": lambda: one(
        "x", "", "counter", "x_total", exemplar=Exemplar({"a": "b"}, 1.0, NAN)
    ),
    "an exemplar of one label twice": lambda: one(
        "x", "", "counter", "x_total", exemplar=Exemplar({"a.b": "1", "a_b": "2"}, 1.0, 1.5e9)
    ),
    "native buckets of floats": native,
    "a schema that is none": lambda: native(schema=-53),
    "fewer buckets than spans": lambda: native(pos_deltas=(1,)),
}
NATIVE = ("native buckets of floats", "a schema that is none", "fewer buckets than spans")


def pages(forms: tuple[str, ...]) -> Iterator[tuple[str, str, Page]]:
    """Yield what is odd in a page, its format, and the page."""
    has_natives = hasattr(prometheus_client.samples, "NativeHistogram")
    for odd, make in FAMILIES.items():
        if odd in NATIVE and not has_natives:
            continue
        for form in forms:
            registry = CollectorRegistry()
            collector: Any = type("Odd", (), {"collect": lambda self, make=make: [make()]})()
            registry.register(collector)
            Gauge("fine", "Fine.", registry=registry).set(1)
            answer = scrape(registry, asked(accept=form))
            assert answer.status == 200
            yield odd, form, (dict(answer.headers)["Content-Type"], answer.body)


def refused(scraper: Scraper, number: int) -> dict[str, str]:
    """Return the targets that are down, and why, once all were scraped."""

    def targets() -> list[Any]:
        found: list[Any] = scraper.ask("/api/v1/targets", state="active")["activeTargets"]
        return found

    def complete(found: list[Any]) -> bool:
        return len(found) == number and all(one["health"] != "unknown" for one in found)

    found = eventually(targets, complete, PATIENCE)
    return {one["labels"]["app"]: one["lastError"] for one in found if one["health"] != "up"}


@pytest.mark.parametrize("name", FORMS)
def test_no_family_takes_the_others_away(
    name: str, tmp_path: Path, real_program: Callable[[str, str], str]
) -> None:
    found = list(pages(FORMS[name]))
    with serving(lambda request: found[int(request.path[1:])][-1]) as port:
        jobs = [
            Job(f"{odd}, {form}", form, port, {"metrics_path": f"/{number}"})
            for number, (odd, form, _) in enumerate(found)
        ]
        binary = program(name, real_program)
        with prometheus(binary, tmp_path / "data", jobs, "native-histograms") as scraper:
            assert refused(scraper, len(jobs)) == {}
            fine = eventually(lambda: scraper.query("fine"), lambda one: len(one) == len(jobs))
            assert {value for _, value in fine} == {1.0}
