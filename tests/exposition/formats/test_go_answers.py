"""What Go's reference handler answered, byte by byte, beside what we answer with the same numbers.

client_golang 1.24 with OpenMetrics enabled; a histogram (also native) with exemplars, a counter
with an exemplar, and a gauge with a name in UTF-8.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.samples import Exemplar, Sample, Timestamp

from exposition.formats.comparing import PROTOBUF, from_openmetrics, from_text, reads_utf_8
from exposition.formats.metrics_proto import decode
from exposition.formats.test_negotiation import BROWSER, OM, PROMETHEUS_3
from prom_middleware.exposition.negotiation import negotiate
from prom_middleware.instrumentation.families import BlockFamily, Native, Row

ANSWERS = Path(__file__).parent / "go_answers"
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
COUNTS = (2.0, 2.0, 2.0, 4.0, 4.0, 4.0, 4.0, 5.0, 6.0, 6.0, 6.0, 7.0)
SECOND = 1795340921
# Of buckets, by their places: value and time, as OpenMetrics shows it, and nanoseconds.
TRACED = {
    0: ("t0.003", 0.003, "1.795340921591643e+09", 591643238),
    3: ("t0.037", 0.037, "1.7953409215916457e+09", 591645571),
    7: ("t1", 1.0, "1.7953409215916467e+09", 591646703),
    8: ("t2.5", 2.5, "1.7953409215916474e+09", 591647584),
    11: ("t99", 99.0, "1.7953409215916493e+09", 591649277),
}
NATIVE = Native(3, 2.0**-128, 1, {-67: 1, -38: 2, 0: 1, 11: 1, 54: 1})


def families(nanoseconds: bool = False) -> list[Metric]:
    """Return the families of the reference, histogram and gauge as rows."""
    traced = {
        place: Exemplar(
            {"trace_id": name}, value, Timestamp(SECOND, nano) if nanoseconds else float(time)
        )
        for place, (name, value, time, nano) in TRACED.items()
    }
    row = Row(("GET",), (*COUNTS, 7.0, 102.577), SECOND + 0.5915, traced)
    histogram = BlockFamily(
        Metric("http_request_duration_seconds", "Latency", "histogram"),
        ("method",),
        BOUNDS,
        lambda: [row._replace(native=NATIVE if nanoseconds else None)],
    )
    exemplar = Exemplar({"trace_id": "abc"}, 3.0, 1.7953409215915978e09)
    counter = Metric("http_requests", "Requests \\ with\nnewline", "counter")
    labels = {"code": '2"0\\0\n', "method": "GET"}
    counter.samples.append(Sample("http_requests_total", labels, 3.0, None, exemplar))
    gauge = BlockFamily(Metric("a", "utf8", "gauge"), (), (), lambda: [Row((), (21.5,))])
    gauge.name = "svc.tempé_°"
    return [histogram, counter, gauge]


ACCEPTS = {
    "none": "",
    "text004": "text/plain; version=0.0.4",
    "unknown": "application/json",
    "text100": "text/plain;version=1.0.0;escaping=allow-utf-8",
    "prom3": PROMETHEUS_3,
    "om_noversion": OM,
    "om_dots": f"{OM};version=1.0.0;escaping=dots",
    "om_values": f"{OM};version=1.0.0;escaping=values",
}
# What we announce where Go announces something else: it has no text 1.0.0.
OURS = {"text100": "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"}
TEXT = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
THEIRS = {
    "none": TEXT,
    "text004": TEXT,
    "unknown": TEXT,
    "prom3": f"{OM}; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
    "om_noversion": f"{OM}; version=0.0.1; charset=utf-8; escaping=underscores",
    "om_dots": f"{OM}; version=1.0.0; charset=utf-8; escaping=dots",
    "om_values": f"{OM}; version=1.0.0; charset=utf-8; escaping=values",
}


@pytest.mark.parametrize("name", ACCEPTS)
def test_content_types(name: str) -> None:
    expected = {**THEIRS, **OURS}[name]
    assert negotiate(ACCEPTS[name]).content_type == expected


@pytest.mark.parametrize("name", ACCEPTS)
def test_bodies(name: str) -> None:
    body = (ANSWERS / f"{name}.bin").read_bytes()
    form = negotiate(ACCEPTS[name])
    if "allow-utf-8" in form.content_type and not reads_utf_8:
        pytest.skip("this prometheus_client cannot read names in UTF-8")
    ours = b"".join(form.render(families()))
    parse = from_openmetrics if form.end else from_text
    assert _rounded(parse(ours)) == _rounded(parse(body))


def _rounded(families: list[Any]) -> list[Any]:
    """Leave out of times what is in one of the two notations only."""
    shown = []
    for name, kind, unit, text, samples in families:
        samples.sort(key=lambda sample: sample[0])  # the sum stands before the count in Go's
        texts = [
            (sample[0], [(key, _edge(key, text)) for key, text in sample[1]], *sample[2:4])
            for sample in samples
        ]
        traced = [sample[4].partition("timestamp=")[0] for sample in samples]
        shown.append((name, kind, unit, text, texts, traced))
    return shown


def _edge(name: str, text: str) -> str:
    return repr(float(text)) if name == "le" else text  # "1" in Go's text, "1.0" in ours


def test_a_browser_gets_text() -> None:
    assert (ANSWERS / "browser.bin").read_bytes().endswith(b"# EOF\n")
    assert negotiate(BROWSER).content_type == TEXT


def test_protobuf() -> None:
    theirs = list(decode((ANSWERS / "prom3_proto.bin").read_bytes()))
    form = negotiate(f"{PROTOBUF},{PROMETHEUS_3}")
    assert form.content_type == f"{PROTOBUF.replace(';', '; ')}; escaping=underscores"
    ours = list(decode(b"".join(form.render(families(nanoseconds=True)))))
    for mine, their in zip(ours, theirs, strict=True):
        _level(mine, their)
        assert str(mine) == str(their)


def _level(mine: Any, their: Any) -> None:
    """Take away what Go's handler does in another way, after a look at it."""
    if their.type == 0:
        # Go tells since when it counts a counter; this one of ours does not know.
        their.metric[0].counter.ClearField("created_timestamp")
        mine.metric[0].counter.exemplar.timestamp.CopyFrom(
            their.metric[0].counter.exemplar.timestamp
        )
    if their.type == 4:
        own, reference = mine.metric[0].histogram, their.metric[0].histogram
        # Go shows the bucket of everything where it has an exemplar; we don't beside native ones.
        assert reference.bucket.pop().upper_bound == float("inf")
        assert own.created_timestamp.seconds == reference.created_timestamp.seconds
        own.created_timestamp.CopyFrom(reference.created_timestamp)
        # Its native buckets have exemplars of their own; ours are those of the classic ones.
        assert len(own.exemplars) == len(TRACED)
        own.ClearField("exemplars")
        reference.ClearField("exemplars")
        for one, other in zip(own.bucket, reference.bucket, strict=True):
            assert one.exemplar.timestamp.seconds == other.exemplar.timestamp.seconds
            one.exemplar.ClearField("timestamp")
            other.exemplar.ClearField("timestamp")
