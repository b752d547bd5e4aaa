"""Which format and which coding is answered to which headers."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exposition.formats.comparing import PROTOBUF
from prom_middleware.exposition.negotiation import coding_of, negotiate

TEXT = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
TEXT_1 = "text/plain; version=1.0.0; charset=utf-8; escaping="
OM = "application/openmetrics-text"
OM_0 = f"{OM}; version=0.0.1; charset=utf-8; escaping=underscores"
OM_1 = f"{OM}; version=1.0.0; charset=utf-8; escaping="
OM_2 = f"{OM}; version=2.0.0; charset=utf-8; escaping="
PROTO = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
    "encoding=delimited; escaping="
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"

ANSWERS = {
    "": TEXT,
    "*/*": TEXT,
    "text/*": TEXT,
    "application/*": TEXT,  # as Go's, Java's and Python's handlers have it
    "application/json,application/*;q=0.9": TEXT,
    "text/*;q=0.5,application/*": TEXT,
    "text/plain;q=0.5,*/*": TEXT,  # nothing is named that could be better
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.9": TEXT,
    f"text/plain;q=0.1,*/*,{OM};version=1.0.0;q=0.2": OM_1 + "underscores",
    "text/plain": TEXT,
    "text/plain;version=0.0.4": TEXT,
    "text/plain;version=0.0.4;escaping=allow-utf-8": TEXT.replace("underscores", "allow-utf-8"),
    "text/plain;version=1.0.0": TEXT_1 + "underscores",
    "text/plain;version=1.0.0;escaping=allow-utf-8": TEXT_1 + "allow-utf-8",
    "text/plain;version=3.0.0": TEXT,
    "application/json": TEXT,
    BROWSER: TEXT,
    "text/plain;version=0.0.4;q=1,*/*;q=0.1": TEXT,  # VictoriaMetrics
    PROMETHEUS_2: OM_1 + "underscores",
    PROMETHEUS_3: OM_1 + "allow-utf-8",
    f"{PROTOBUF},{PROMETHEUS_3}": PROTO + "underscores",
    f"{PROTOBUF};escaping=values": PROTO + "values",
    "application/vnd.google.protobuf": TEXT,
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily": TEXT,
    # As Go's handler has it, for people.
    PROTOBUF.replace("delimited", "text"): PROTO.replace("delimited", "text") + "underscores",
    OM: OM_0,
    f"{OM};version=0.0.1": OM_0,
    f"{OM};version=1.0.0;escaping=dots": OM_1 + "dots",
    f"{OM};version=1.0.0;escaping=values": OM_1 + "values",
    f"{OM};version=1.0.0;escaping=odd": OM_1 + "underscores",
    f"{OM};version=2.0.0": OM_2 + "underscores",
    f"{OM};version=2.0.0;escaping=allow-utf-8,{PROMETHEUS_3}": OM_2 + "allow-utf-8",
    f"{OM};version=1.5.0": TEXT,
    # At the same weight, what comes first, and what is named before what is not.
    f"{OM};version=1.0.0,text/plain": OM_1 + "underscores",
    f"text/plain,{OM};version=1.0.0": TEXT,
    f"*/*,{OM};version=1.0.0": OM_1 + "underscores",
    # Weights.
    f"{OM};version=1.0.0;q=0.5,text/plain;q=0.7": TEXT,
    f"{OM};version=1.0.0;q=0.50,text/plain;q=0.499": OM_1 + "underscores",
    f"{OM};version=1.0.0;q=0": TEXT,
    f"{OM};version=1.0.0;q=0,*/*;q=0.1": TEXT,
    f"{OM};q=0.1,{OM};version=1.0.0;q=0.2": OM_1 + "underscores",
    f"text/plain;q=0,{OM};version=1.0.0;q=0.001": OM_1 + "underscores",
    "text/plain;q=0,*/*": OM_0,
    "text/plain;q=0": TEXT,  # there is nothing else to be had
    "text/plain;q=0.5;version=1.0.0": TEXT_1 + "underscores",
    "*/*;q=0": TEXT,
    # How it may be written.
    f" {OM} ; version = 1.0.0 ; escaping = dots ": OM_1 + "dots",
    f'{OM};version="1.0.0";escaping="d\\ots"': OM_1 + "dots",
    f"{OM.upper()};VERSION=1.0.0;Escaping=DOTS;Q=1": OM_1 + "dots",
    PROTOBUF.upper(): PROTO + "underscores",
    f'text/x;a="b,{OM};version=1.0.0",text/plain;version=1.0.0': TEXT_1 + "underscores",
    f",,;, {OM};version=1.0.0": OM_1 + "underscores",
    f"{OM};;version=1.0.0;": OM_1 + "underscores",
    # What is malformed does not count.
    f"{OM};version=1.0.0;q=many": TEXT,
    f"{OM};version=1.0.0;q=2": TEXT,
    f"{OM};version=1.0.0;q=-1": TEXT,
    f"{OM};version=1.0.0;q=": TEXT,
    f"{OM};version=1.0.0;q=nan": TEXT,
    f'{OM};version="1.0.0': TEXT,
    ";": TEXT,
    '"': TEXT,
    "\x00\xff": TEXT,
}


@pytest.mark.parametrize("accept", ANSWERS)
def test_answers(accept: str) -> None:
    assert negotiate(accept).content_type == ANSWERS[accept]


def test_only_openmetrics_has_an_end() -> None:
    assert {answer: negotiate(accept).end for accept, answer in ANSWERS.items()} == {
        answer: b"# EOF\n" if answer.startswith(OM) else b"" for answer in ANSWERS.values()
    }


@given(st.text() | st.text(string.printable) | st.text(",;=\"\\q*/.01 textplain'"))
def test_any_header_is_answered(header: str) -> None:
    assert negotiate(header).content_type.count("escaping=") == 1
    assert coding_of(header) in ("identity", "gzip", "zstd")


@pytest.mark.parametrize(
    "part",
    [
        "a",
        ",",
        ";",
        '"',
        "\\",
        '"\\',
        "text/plain,",
        f"{OM};version=1.0.0,",
        "*/*;q=0.1,",
        "q=0.1;",
    ],
)
@pytest.mark.parametrize("size", [8000, 64 * 1024])
def test_long_headers(part: str, size: int) -> None:
    header = part * (size // len(part))
    form = negotiate(header)  # what grows with the square of it takes minutes
    coding = coding_of(header)
    if size > 8192:
        assert (form.content_type, coding) == (TEXT, "identity")


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        (" gzip ; q=0.5 ", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0.0, *", "identity"),
        ("deflate, br", "identity"),
        ("identity", "identity"),
        ("*", "identity"),
        ("identity;q=0", "identity"),
        ("*;q=0", "identity"),
        ("gzip;q=0.5, identity", "identity"),
        ("gzip, identity;q=0.5", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("gzip;q=many", "identity"),
        ("gzip, zstd", "zstd"),
        ("zstd;q=0.9, gzip;q=1.0", "gzip"),
        ("zstd", "zstd"),
        ("zstd;q=0, *", "identity"),
        ("identity;q=0, *;q=0.5", "zstd"),
    ],
)
def test_codings(header: str, coding: str) -> None:
    assert coding_of(header) == coding
