"""Recorded answers of Go's reference handler, which has more ways to write a number."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as their_text

from exposition.formats.comparing import reads_utf_8
from parser.shown import shown
from prom_middleware.parser import parse

ANSWERS = Path(__file__).parents[1] / "exposition" / "formats" / "go_answers"
TEXT, OPENMETRICS = "text/plain", "application/openmetrics-text"
DELIMITED = "proto=io.prometheus.client.MetricFamily; encoding=delimited"
PROTOBUF = f"application/vnd.google.protobuf; {DELIMITED}"


@pytest.mark.parametrize("name", ["none", "text004", "text100", "unknown"])
def test_text(name: str) -> None:
    if name == "text100" and not reads_utf_8:
        pytest.skip("this prometheus_client cannot read names in UTF-8")
    body = (ANSWERS / f"{name}.bin").read_bytes()
    assert shown(parse(body, TEXT)) == shown(their_text(body.decode()))


@pytest.mark.parametrize("name", ["om_dots", "om_noversion", "om_values", "prom3", "browser"])
def test_openmetrics(name: str) -> None:
    body = (ANSWERS / f"{name}.bin").read_bytes()
    exemplars = [
        sample.exemplar
        for family in parse(body, OPENMETRICS)
        for sample in family.samples
        if sample.exemplar
    ]
    # prometheus_client takes the 1.795340921e+09 that Go writes for less than two seconds.
    times = [float(one.timestamp) for one in exemplars if one.timestamp is not None]
    assert times
    assert {round(time) for time in times} <= {1795340921, 1795340922}


def test_protobuf() -> None:
    body = (ANSWERS / "prom3_proto.bin").read_bytes()
    text = (ANSWERS / "text004.bin").read_bytes()
    found = {one.name: one for one in parse(body, PROTOBUF)}
    assert found.keys() >= {one.name for one in parse(text, TEXT) if "_dot_" not in one.name}
    histogram = next(one for one in found.values() if one.type == "histogram")
    native = getattr(histogram.samples[0], "native_histogram", None)
    counts = [one.value for one in histogram.samples if one.name.endswith("_count")]
    assert native is None or counts == [native.count_value]
