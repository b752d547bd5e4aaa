"""Two expositions are the same if they parse to the same families and samples."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families as text_families

from prom_middleware.exposition.negotiation import negotiate

# prometheus_client before 0.22 reads classic names only.
reads_utf_8 = find_spec("prometheus_client.validation") is not None
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


def render(accept: str, families: Iterable[Metric]) -> bytes:
    """Return what is answered to an Accept header."""
    return b"".join(negotiate(accept).render(families))


def from_text(body: bytes) -> list[Any]:
    """Return the families of a text exposition; numbers as texts, for NaN is not NaN."""
    return _comparable(text_families(body.decode()))


def from_openmetrics(body: bytes) -> list[Any]:
    """Return the families of an OpenMetrics exposition."""
    return _comparable(openmetrics_families(body.decode()))


def _comparable(families: Iterable[Metric]) -> list[Any]:
    return [
        (one.name, one.type, one.unit, one.documentation, [_sample(found) for found in one.samples])
        for one in families
    ]


def _sample(sample: Any) -> tuple[Any, ...]:
    return (
        sample.name,
        sorted(sample.labels.items()),
        repr(float(sample.value)),
        str(sample.timestamp),
        str(sample.exemplar),
    )
