"""The text that blocks make of themselves says what prometheus_client would say."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from instrumentation.driver import core, record
from prom_middleware.exposition.negotiation import negotiate
from prom_middleware.instrumentation.families import BlockFamily


def render(registry: CollectorRegistry) -> bytes:
    return b"".join(negotiate("").render(registry.collect()))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["%", "%r", "%r%s%%", "%s", "%(a)s", "%%", '"', "\\", "\n", '\\"', "{}", "a,b", ""]
)
SIZES = st.sampled_from([0, 1, 57, 999_999, 1_000_000, 123_456_789, 10**15])


def parsed(body: bytes) -> list[Any]:
    """Return the families in their order, their samples without an order of labels."""
    return [
        (family.name, family.type, family.documentation, family.samples)
        for family in text_string_to_metric_families(body.decode())
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from(["GET", "POST"]), TEXTS, SIZES, TEXTS), min_size=1, max_size=5
    )
)
def test_any_labels_and_numbers(requests: list[tuple[str, str, int, str]]) -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry, labels={"app": lambda facts: facts.request["app"]})
    for method, route, size, app in requests:
        observation = instrumentation.start({"route": route, "app": app}, method)
        observation.status, observation.sent = "200", size
        observation.rarely().event_stream = size == 57
        observation.finish()
    assert parsed(render(registry)) == parsed(generate_latest(registry))


def test_without_labels() -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)
    instrumentation.recorder.observe(instrumentation.recorder.series.queue, (), 0.2)
    assert parsed(render(registry)) == parsed(generate_latest(registry))
    assert b'http_request_queue_seconds_bucket{le="0.25"} 1.0\n' in render(registry)


def test_the_families_of_others_keep_their_place() -> None:
    registry = CollectorRegistry()
    Counter("first", "Before ours.", registry=registry).inc()
    record(core(registry))
    Counter("last", "After ours.", registry=registry).inc(2)
    names = [family[0] for family in parsed(render(registry))]
    assert names == [family[0] for family in parsed(generate_latest(registry))]
    assert (names[0], names[-2:]) == ("first", ["last", "last_created"])


def test_samples_are_made_when_they_are_asked_for() -> None:
    registry = CollectorRegistry()
    record(core(registry), "/r", "404")
    family = next(one for one in registry.collect() if one.name == "http_requests")
    assert isinstance(family, BlockFamily)
    (sample,) = family.samples
    assert sample.labels == {"method": "GET", "route": "/r", "status": "404"}
    assert sample.value == 1
    (restricted,) = registry.restricted_registry(["http_requests_total"]).collect()
    assert restricted.samples == family.samples


def test_a_user_may_leave_out_samples() -> None:
    registry = CollectorRegistry()
    record(core(registry))
    (family,) = (one for one in registry.collect() if one.name == "http_request_duration_seconds")
    family.samples = [one for one in family.samples if one.name.endswith("_count")]
    assert [one.value for one in family.samples] == [1.0]
