"""A unit is shown where it is a part of the name as it is written: readers refuse any other."""

from __future__ import annotations

import pytest
from prometheus_client import Metric
from prometheus_client.samples import Sample

from exposition.formats.comparing import OPENMETRICS, PROTOBUF, render
from exposition.formats.metrics_proto import decode
from prom_middleware.exposition.formats.escaping import SCHEMES

TWO = "application/openmetrics-text;version=2.0.0"
CLASSIC = {"underscores", "dots", "values", "allow-utf-8"}


def of(name: str, unit: str, kind: str = "gauge", sample: str = "") -> Metric:
    """Return a family, whose unit may be any text."""
    family = Metric("a", "Help.", kind)
    family.name, family.unit = name, unit
    family.samples = [Sample(sample or name, {}, 1.0)]
    return family


FAMILIES: list[tuple[Metric, set[str]]] = [
    (of("a_seconds", "seconds"), CLASSIC),
    (of("a_seconds", "seconds", "counter", "a_seconds_total"), CLASSIC),
    (of("a_meters_per_second", "meters_per_second"), CLASSIC),
    (of("a.b_meters_per_second", "meters_per_second"), {"underscores", "allow-utf-8"}),
    (of("a_m/s", "m/s"), {"allow-utf-8"}),
    (of("a_%", "%"), {"allow-utf-8"}),
    (of('a_"', '"'), set()),
    (of("a_b\nc", "b\nc"), set()),
    (of("a_b\\c", "b\\c"), set()),
    (of("a", "seconds"), set()),
    (of("seconds", "seconds"), set()),
    (of("a_seconds", "seconds", "info", "a_seconds_info"), set()),
    (of("a_seconds", "seconds", "stateset"), set()),
]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("family", "shown"), FAMILIES, ids=lambda given: getattr(given, "name", "")
)
def test_a_unit_that_is_no_part_of_the_name_stays_out(
    family: Metric, shown: set[str], scheme: str
) -> None:
    ending = f" {family.unit}\n".encode()
    for accept in (OPENMETRICS, TWO):
        body = render(f"{accept};escaping={scheme}", [family])
        assert (b"# UNIT" in body) is (scheme in shown)
        assert (ending in body) is (scheme in shown)
    (decoded,) = decode(render(f"{PROTOBUF};escaping={scheme}", [family]))
    assert decoded.unit == (family.unit if scheme in shown else "")


def test_samples_of_another_name_have_no_unit() -> None:
    family = of("a_seconds", "seconds")
    family.samples.append(Sample("other", {}, 1.0))
    first, second = decode(render(PROTOBUF, [family]))
    assert (first.unit, second.unit) == ("seconds", "")
