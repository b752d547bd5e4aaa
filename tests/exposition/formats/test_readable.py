"""Protobuf for people: the real package reads the text as it reads the bytes."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from hypothesis import given
from prometheus_client import Metric
from prometheus_client.samples import Exemplar

from exposition.formats.comparing import PROTOBUF, render
from exposition.formats.metrics_proto import MetricFamily, decode
from exposition.formats.random_families import LABELS, UTF_8_LABELS, families
from exposition.formats.test_protobuf import block
from prom_middleware.exposition.negotiation import negotiate
from prom_middleware.instrumentation.families import Native, Row

READABLE = PROTOBUF.replace("delimited", "text")


def check(*shown: Metric) -> str:
    """Compare what the real package reads of both forms; return the readable one."""
    scheme = ";escaping=allow-utf-8"
    text = render(READABLE + scheme, list(shown)).decode()
    messages = [one for one in text.split("\n\n") if one]
    read = [text_format.Parse(one, MetricFamily()) for one in messages]
    # Not as messages: a NaN is no other.
    found = list(map(str, decode(render(PROTOBUF + scheme, list(shown)))))
    assert list(map(str, read)) == found
    return text


@given(families(labels=(*LABELS, *UTF_8_LABELS)))
def test_any_family(family: Metric) -> None:
    check(family)


def test_many_rows_come_in_many_slices() -> None:
    rows = [Row((f"{n}", "b"), (1.0, 2.0, 3.0, 3.0, n / 7)) for n in range(200)]
    assert check(block(*rows), block(rows[0])).count("metric {") == 201


def test_native_histograms() -> None:
    traced = {1: Exemplar({"trace_id": "t"}, 7.0, 1520430000.5)}
    native = Native(3, 2.0**-128, 2.0, {-3: 1.0, 5: 4.0})
    text = check(block(Row(("a", "b"), (0.0, 7.0, 7.0, 7.0, 5.0), 1.5, traced, native)))
    assert "schema: 3\n" in text
    assert "positive_delta: 3\n" in text


def test_it_is_answered_to_who_asks_for_it() -> None:
    announced = READABLE.replace(";", "; ")
    assert negotiate(READABLE).content_type == f"{announced}; escaping=underscores"


@pytest.mark.parametrize("text", ['a "quoted" word', "two\nlines", "back\\slash", "ü"])
def test_help_is_escaped(text: str) -> None:
    family = block(Row(("a", "b"), (0.0, 1.0, 1.0, 1.0, 5.0)))
    family.documentation = text
    check(family)
