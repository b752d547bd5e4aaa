"""Names in the four escaping schemes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric

from exposition.formats.comparing import (
    OPENMETRICS,
    PROTOBUF,
    from_openmetrics,
    reads_utf_8,
    render,
)
from exposition.formats.metrics_proto import decode
from prom_middleware.exposition.formats.escaping import (
    SCHEMES,
    escape_label_name,
    escape_metric_name,
    is_classic,
)
from prom_middleware.instrumentation.families import BlockFamily, Row

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8) | st.from_regex(
    r"[_a-z:.]{1,8}", fullmatch=True
)


def unescaped(name: str) -> str:
    """Return what a name in the `values` scheme stands for."""
    if not name.startswith("U__"):
        return name
    return re.sub(
        r"__|_([0-9a-f]+)_",
        lambda found: chr(int(found[1], 16)) if found[1] else "_",
        name.removeprefix("U__"),
    )


@pytest.mark.parametrize(
    ("name", "scheme", "escaped"),
    [
        ("a.b_c/d", "underscores", "a_b_c_d"),
        ("a.b_c/d", "dots", "a_dot_b__c__d"),
        ("a.b_c/d", "values", "U__a_2e_b__c_2f_d"),
        ("a.b_c/d", "allow-utf-8", "a.b_c/d"),
        ("9a", "underscores", "_a"),
        ("9a", "dots", "__a"),
        ("9a", "values", "U___39_a"),
        ("a:b", "values", "a:b"),
        ("up_total", "dots", "up_total"),
        ("up_total", "values", "up_total"),
        ("é°\U0001f600", "values", "U___e9__b0__1f600_"),
        ("a\n", "underscores", "a_"),
        ("\ud800", "values", "U___FFFD_"),
        # What Prometheus cannot read, or what is no text, is written as it can be.
        ("a\0b", "allow-utf-8", "U__a_0_b"),
        ("a\ud800", "allow-utf-8", "U__a_FFFD_"),
    ],
)
def test_metric_names(name: str, scheme: str, escaped: str) -> None:
    assert escape_metric_name(name, scheme) == escaped


def test_colons_are_for_metrics() -> None:
    assert escape_label_name("a:b", "underscores") == "a_b"
    assert escape_label_name("a:b", "values") == "U__a_3a_b"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("escape", [escape_label_name, escape_metric_name])
def test_a_name_has_to_be_there(scheme: str, escape: object) -> None:
    with pytest.raises(ValueError, match="no name"):
        escape("", scheme)  # type: ignore[operator]


@given(NAMES)
def test_values_can_be_undone(name: str) -> None:
    if not name.startswith("U__"):
        assert unescaped(escape_metric_name(name, "values")) == name
        assert unescaped(escape_label_name(name, "values")) == name


@given(NAMES, st.sampled_from(["underscores", "dots", "values"]))
def test_escaped_names_are_classic(name: str, scheme: str) -> None:
    assert is_classic(escape_metric_name(name, scheme))
    assert is_classic(escape_label_name(name, scheme))
    assert ":" not in escape_label_name(name, scheme)
    assert escape_metric_name(name, "underscores") == re.sub(
        r"^[^a-zA-Z_:]|(?<!^)[^a-zA-Z0-9_:]", "_", name
    )


# A counter and a histogram, whose samples have endings: the whole name of the family is escaped.
ENDINGS = {
    "underscores": ("a_b_total", "a_b", "a_b_bucket", "http_m"),
    "dots": ("a_dot_b__total", "a_dot_b", "a_dot_b_bucket", "http_dot_m"),
    "values": ("U__a_2e_b__total", "U__a_2e_b", "U__a_2e_b_bucket", "U__http_2e_m"),
    "allow-utf-8": ("a.b_total", "a.b", "a.b_bucket", "http.m"),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("as_samples", [False, True])
def test_a_series_has_one_name_in_all_formats(scheme: str, as_samples: bool) -> None:
    if scheme == "allow-utf-8" and not reads_utf_8:
        pytest.skip("this prometheus_client cannot read names in UTF-8")
    total, name, bucket, label = ENDINGS[scheme]
    counter = block("counter", (1.0,))
    histogram = block("histogram", (1.0, 2.0, 2.0, 0.5))
    for family, expected in ((counter, total), (histogram, bucket)):
        if as_samples:
            family = copied(family)
        (parsed,) = from_openmetrics(render(f"{OPENMETRICS};escaping={scheme}", [family]))
        assert parsed[-1][0][0] == expected
        assert parsed[1] == family.type
        assert (label, "v") in parsed[-1][0][1]
        text = render(f"text/plain;version=1.0.0;escaping={scheme}", [family]).decode()
        quoted = expected if is_classic(expected) else f'{{"{expected}",'
        assert f"\n{quoted}" in text
        (decoded,) = decode(render(f"{PROTOBUF};escaping={scheme}", [family]))
        assert decoded.name == (total if family is counter or family.type == "counter" else name)
        assert decoded.metric[0].label[0].name == label


def block(kind: str, values: tuple[float, ...]) -> BlockFamily:
    bounds = (0.1,) if kind == "histogram" else ()
    family = Metric.__new__(Metric)  # prometheus_client 0.20 refuses the name
    family.name, family.documentation, family.type, family.unit = "a_b", "Help.", kind, ""
    found = BlockFamily(family, ("http.m",), bounds, lambda: [Row(("v",), values)])
    found.name = "a.b"
    return found


def copied(family: BlockFamily) -> Metric:
    found = Metric("a_b", family.documentation, family.type)
    found.name, found.samples = family.name, list(family.samples)
    return found
