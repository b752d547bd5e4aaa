"""What is written and then parsed is what it was, in every format."""

from __future__ import annotations

from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric

from exposition.formats.comparing import OPENMETRICS, PROTOBUF, render
from exposition.formats.random_families import CLASSIC, LABELS, UTF_8, UTF_8_LABELS, families
from parser.shown import shown
from prom_middleware.exposition.negotiation import negotiate
from prom_middleware.parser import parse
from prom_middleware.wsgi import PrometheusMiddleware

# The other tests of the parser cover it; of these there are many more.
pytestmark = pytest.mark.no_cover

ANY = families(st.one_of(CLASSIC, UTF_8), (*LABELS, *UTF_8_LABELS))
OPENMETRICS_2 = "application/openmetrics-text;version=2.0.0"
UTF_8_NAMES = ";escaping=allow-utf-8"
TEXTS = ["text/plain;version=0.0.4", "text/plain;version=1.0.0"]
# What prometheus_client takes for blank before a text, and after it; a line feed is escaped.
BEFORE = " \t\r\x0b\x0c"
AFTER = "".join(chr(code) for code in range(0x3001) if chr(code).isspace() and code != 10)
# Types that the text format and protobuf have as well; the others become gauges.
SHARED = ("counter", "gauge", "summary", "histogram", "unknown")


def several(*types: str) -> Any:
    """Return a strategy for families of these types, or any, that have different names."""
    chosen = ANY.filter(lambda family: family.type in types) if types else ANY
    return st.lists(chosen, max_size=3, unique_by=_stem)


def _stem(family: Metric) -> str:
    return family.name.removesuffix("_seconds")


def parsed(accept: str, given_families: list[Metric]) -> Any:
    chosen = negotiate(accept + UTF_8_NAMES)
    return shown(parse(render(accept + UTF_8_NAMES, given_families), chosen.content_type))


def with_samples(
    family: Metric, change: Any = lambda sample: sample, documentation: str | None = None
) -> Metric:
    """Return a family with other samples, without those that `change` makes None."""
    found = Metric("a", family.documentation, family.type)
    found.name, found.unit = family.name, family.unit
    if documentation is not None:
        found.documentation = documentation
    found.samples = [new for one in family.samples if (new := change(one)) is not None]
    return found


def at_one_time(family: Metric) -> Metric:
    """Return a family whose samples have the time of the first, as OpenMetrics wants it."""
    time = family.samples[0].timestamp if family.samples else None
    # A blank before a text is lost, in prometheus_client's parser and in ours.
    return with_samples(
        family, lambda one: one._replace(timestamp=time), family.documentation.lstrip(" ")
    )


@given(several())
def test_openmetrics(given_families: list[Metric]) -> None:
    expected = [at_one_time(family) for family in given_families]
    assert parsed(OPENMETRICS, expected) == shown(expected)


def as_text_says(family: Metric) -> Metric:
    def said(sample: Any) -> Any:
        if sample.name == f"{family.name}_created":
            return None
        return sample._replace(timestamp=in_milliseconds(sample.timestamp), exemplar=None)

    found = with_samples(family, said, family.documentation.lstrip(BEFORE).rstrip(AFTER))
    found.unit = ""
    return found


def in_milliseconds(time: Any) -> float | None:
    return None if time is None else int(float(time) * 1000) / 1000


@pytest.mark.parametrize("accept", TEXTS)
@given(given_families=several(*SHARED))
def test_text(accept: str, given_families: list[Metric]) -> None:
    expected = [as_text_says(family) for family in given_families]
    apart = [one for one in parsed(accept, given_families) if not one[0].endswith("_created")]
    assert apart == shown(expected)


@given(several(*SHARED, "gaugehistogram"))
def test_protobuf(given_families: list[Metric]) -> None:
    def said(sample: Any) -> Any:
        if sample.name.endswith("_created"):
            sample = sample._replace(value=round(sample.value, 6))
        return sample._replace(timestamp=in_milliseconds(sample.timestamp))

    expected = [with_samples(family, said) for family in given_families if family.samples]
    assert parsed(PROTOBUF, given_families) == shown(expected)


@given(several())
def test_openmetrics_2(given_families: list[Metric]) -> None:
    def said(sample: Any) -> Any:
        # Exemplars have to have a time; those of buckets come back where their value is.
        traced = sample.exemplar if sample.name.endswith("_total") else None
        if traced is not None and traced.timestamp is None:
            traced = None
        return sample._replace(exemplar=traced)

    expected = [
        with_samples(family, said, family.documentation.lstrip(" ")) for family in given_families
    ]
    assert parsed(OPENMETRICS_2, expected) == shown(expected)


@given(several("info", "stateset"))
def test_types_that_only_openmetrics_has(given_families: list[Metric]) -> None:
    for accept in (TEXTS[0], PROTOBUF):
        found = parsed(accept, given_families)
        assert {kind for _, kind, *_ in found} <= {"gauge"}
        samples = [row[:3] for *_, rows in found for row in rows]
        assert samples == [row[:3] for *_, rows in shown(given_families) for row in rows]


@pytest.mark.parametrize("accept", [*TEXTS, OPENMETRICS, OPENMETRICS_2, PROTOBUF])
def test_our_own_metrics(accept: str) -> None:
    registry = CollectorRegistry()
    app = PrometheusMiddleware(hello, registry=registry, native_histograms=True)
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    app(environ, lambda *told: None).close()
    found = {name: rows for name, *_, rows in parsed(accept, list(registry.collect()))}
    counts = {name: value for name, _, value, *_ in found["http_request_duration_seconds"]}
    assert counts["http_request_duration_seconds_count"] == "1.0"


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"Hello"]
