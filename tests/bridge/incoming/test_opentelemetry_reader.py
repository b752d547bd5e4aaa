"""Metrics of OpenTelemetry's SDK, as a registry shows them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk import metrics as sdk_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry, samples

from bridge.incoming.sending import sample
from bridge.systems import page
from prom_middleware import failures
from prom_middleware.bridge import OpenTelemetryReader
from prom_middleware.bridge.incoming.opentelemetry_families import labels_of, name_of

# The SDK has exemplars since 1.28.
FILTER = getattr(sdk_metrics, "AlwaysOnExemplarFilter", None)
EXEMPLARS: Any = {"exemplar_filter": FILTER()} if FILTER else {}
SCOPE = {"otel_scope_name": "lib", "otel_scope_version": "1.2"}


class Sdk:
    def __init__(self, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.reader = OpenTelemetryReader(self.registry, **options)
        self.provider = MeterProvider(
            [self.reader],
            Resource({"service.name": "shop"}),
            **EXEMPLARS,
            views=[
                View(
                    instrument_name="native.*",
                    aggregation=ExponentialBucketHistogramAggregation(max_size=8),
                ),
                View(
                    instrument_name="wait",
                    aggregation=ExplicitBucketHistogramAggregation([0.5, 2.0]),
                ),
            ],
            shutdown_on_exit=False,
        )
        self.meter = self.provider.get_meter("lib", "1.2")


@pytest.fixture
def sdk() -> Iterator[Sdk]:
    sdk = Sdk()
    yield sdk
    sdk.provider.shutdown()


def test_every_instrument_is_shown(sdk: Sdk) -> None:
    def load(options: CallbackOptions) -> Sequence[Observation]:
        return [Observation(0.5, {"cpu": 1})]

    sdk.meter.create_counter("http.calls", "{call}", "Calls.").add(3, {"http.method": "GET"})
    sdk.meter.create_up_down_counter("memory", "By").add(-5)
    sdk.meter.create_histogram("wait", "s").record(1)
    sdk.meter.create_observable_gauge("load", [load], "1")
    assert page(sdk.registry) == {
        sample("target_info", service_name="shop"): 1,
        sample("http_calls_total", http_method="GET", **SCOPE): 3,
        sample("memory_bytes", **SCOPE): -5,
        sample("wait_seconds_bucket", le="0.5", **SCOPE): 0,
        sample("wait_seconds_bucket", le="2.0", **SCOPE): 1,
        sample("wait_seconds_bucket", le="+Inf", **SCOPE): 1,
        sample("wait_seconds_count", **SCOPE): 1,
        sample("wait_seconds_sum", **SCOPE): 1,
        sample("load_ratio", cpu="1", **SCOPE): 0.5,
    }


def test_scope_and_target_can_be_left_out() -> None:
    sdk = Sdk(scope_labels=False, target_info=False)
    sdk.meter.create_counter("calls").add(1)
    assert page(sdk.registry) == {sample("calls_total"): 1}
    sdk.provider.shutdown()
    assert page(sdk.registry) == {}


@pytest.mark.skipif(FILTER is None, reason="this SDK has no exemplars")
def test_exemplars_have_their_trace(sdk: Sdk) -> None:
    with (
        TracerProvider(shutdown_on_exit=False).get_tracer("lib").start_as_current_span("a") as span
    ):
        sdk.meter.create_counter("calls").add(1)
        sdk.meter.create_histogram("wait").record(7)
    trace = f"{span.get_span_context().trace_id:032x}"
    found = {
        one.name: one.exemplar
        for family in sdk.registry.collect()
        for one in family.samples
        if one.exemplar
    }
    assert {name: one.labels["trace_id"] for name, one in found.items()} == {
        "calls_total": trace,
        "wait_bucket": trace,
    }
    assert found["wait_bucket"].value == 7


@pytest.mark.skipif(
    not hasattr(samples, "NativeHistogram"), reason="this prometheus_client has none"
)
def test_exponential_histograms_are_native(sdk: Sdk) -> None:
    histogram = sdk.meter.create_histogram("native.size")
    for value in (0, 1.5, 3, 3.5, 100):
        histogram.record(value)
    shown = [one for family in sdk.registry.collect() for one in family.samples]
    (native,) = (one.native_histogram for one in shown if one.native_histogram)
    assert (native.count_value, native.sum_value, native.zero_count) == (5, 108, 1)
    base = 2.0 ** (2.0**-native.schema)
    (span,) = native.pos_spans
    count, counts = 0, []
    for delta in native.pos_deltas:
        count += delta
        counts.append(count)
    bounds = [base ** (span.offset + place) for place in range(span.length)]
    for value in (1.5, 3, 3.5, 100):
        place = next(place for place, bound in enumerate(bounds) if value <= bound)
        assert counts[place] > 0
        assert value > bounds[place] / base
    assert sum(counts) == 4
    text = page(sdk.registry)
    assert text[sample("native_size_bucket", le="+Inf", **SCOPE)] == 5
    assert sample("native_size", **SCOPE) not in text, "there is no such number"


def test_two_types_under_one_name_are_reported_and_the_first_stays(sdk: Sdk) -> None:
    before = failures.counts().get("bridge.opentelemetry", 0)
    sdk.meter.create_up_down_counter("thing").add(1)
    sdk.provider.get_meter("other").create_histogram("thing").record(1)
    assert page(sdk.registry)[sample("thing", **SCOPE)] == 1
    assert failures.counts()["bridge.opentelemetry"] == before + 1


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("http.server.duration", "ms", "histogram", "http_server_duration_milliseconds"),
        ("(lambda).function.executions(#)", "", "counter", "lambda_function_executions"),
        ("speed", "m/s", "gauge", "speed_meters_per_second"),
        ("rate", "{packet}/min", "gauge", "rate_per_minute"),
        ("used_bytes", "By", "gauge", "used_bytes"),
        ("ratio", "1", "gauge", "ratio_ratio"),
        ("calls_total", "1", "counter", "calls"),
        ("5xx", "widgets", "gauge", "_5xx_widgets"),
    ],
)
def test_names_have_their_units(name: str, unit: str, kind: str, expected: str) -> None:
    assert name_of(name, unit, kind) == expected


def test_an_attribute_is_no_bound_of_a_histogram(sdk: Sdk) -> None:
    for kind in ("wait", "native.wait"):
        histogram = sdk.meter.create_histogram(kind)
        for street in ("north", "south"):
            histogram.record(1.5, {"le": street})
    sdk.meter.create_counter("sold").add(1, {"le": "north"})
    shown = page(sdk.registry)
    for name in ("wait", "native_wait"):
        for street in ("north", "south"):
            labels = {"exported_le": street, **SCOPE}
            assert shown[sample(f"{name}_count", **labels)] == 1
            assert shown[sample(f"{name}_bucket", le="+Inf", **labels)] == 1
    assert shown[sample("sold_total", le="north", **SCOPE)] == 1


def test_attributes_of_one_name_are_joined() -> None:
    assert labels_of({"a.b": 1, "a_b": "x", "ok": True, "many": ("a", "b")}) == {
        "a_b": "1;x",
        "ok": "true",
        "many": '["a", "b"]',
    }


WITHOUT = """\
import pydoc, sys
sys.modules["opentelemetry"] = None
import prom_middleware.bridge
from prom_middleware.bridge import *
from prom_middleware.errors import MissingFrameworkError
assert "load_mapping" in pydoc.plain(pydoc.render_doc(prom_middleware.bridge))
try:
    OpenTelemetryReader(scope_labels=False)
except MissingFrameworkError as error:
    print(error)
"""


def test_without_the_sdk() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "pip install opentelemetry-sdk, or 'prom_middleware[otlp]'" in done.stdout
