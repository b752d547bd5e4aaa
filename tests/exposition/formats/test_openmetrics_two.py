"""OpenMetrics 2.0, held to the grammar of its draft."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.samples import Exemplar, Sample

from exposition.formats.comparing import render
from exposition.formats.random_families import LABELS, UTF_8, UTF_8_LABELS, families
from prom_middleware.instrumentation.families import BlockFamily, Native, Row

ACCEPT = "application/openmetrics-text;version=2.0.0;escaping=allow-utf-8"
CREATED = 1520430000.123

# https://prometheus.io/docs/specs/om/open_metrics_spec_2_0/#abnf
TEXT = r'(?:[^"\\\n]|\\[n"\\])'
REAL = r"[+-]?(?:\d+\.?\d*|\d*\.\d+)(?:e[+-]?\d+)?"
NUMBER = rf"(?:{REAL}|[+-]?Inf|NaN)"
NAME, KEY = r"[a-zA-Z_:][a-zA-Z0-9_:]*", rf'(?:[a-zA-Z_][a-zA-Z0-9_]*|"{TEXT}+")'
LABEL = rf'{KEY}="{TEXT}*"'
BRACES = rf"\{{(?:{LABEL}(?:,{LABEL})*)?\}}"
SERIES = rf'(?:{NAME}(?:{BRACES})?|\{{"{TEXT}+"(?:,{LABEL})*\}})'
CLASSIC = rf"bucket:\[(?:(?:-Inf|{REAL}):{NUMBER},)*\+Inf:{NUMBER}\]"
SPANS = r"_spans:\[-?\d+:\d+(?:,\d+:\d+)*\]"
SIDES = "".join(
    rf"(?:,{side}{SPANS},{side}_buckets:\[{NUMBER}(?:,{NUMBER})*\])?"
    for side in ("negative", "positive")
)
NATIVE = rf"schema:-?\d+,zero_threshold:{REAL},zero_count:{NUMBER}{SIDES}"
BUCKETS = rf"(?:{CLASSIC}|{NATIVE}(?:,{CLASSIC})?)"
VALUES = {
    "histogram": rf"\{{count:{NUMBER},sum:{NUMBER},{BUCKETS}\}}",
    "gaugehistogram": rf"\{{gcount:{NUMBER},gsum:{NUMBER},{BUCKETS}\}}",
    "summary": (
        rf"\{{count:{NUMBER},sum:{NUMBER},quantile:\[(?:{REAL}:{NUMBER}(?:,{REAL}:{NUMBER})*)?\]\}}"
    ),
}
EXEMPLAR = rf" # {BRACES} {NUMBER} {REAL}"
DESCRIPTOR = re.compile(rf'# (?:TYPE|HELP|UNIT) (?:{NAME}|"{TEXT}+") (?:{TEXT}|\\.)*')


def check(body: str, kind: str) -> None:
    """Fail for a line that the grammar does not have."""
    value = VALUES.get(kind, NUMBER)
    sample = re.compile(rf"{SERIES} {value}(?: {REAL})?(?: st@{REAL})?(?:{EXEMPLAR})*")
    assert body.endswith("# EOF\n")
    for line in body.removesuffix("# EOF\n").split("\n")[:-1]:
        assert (DESCRIPTOR if line.startswith("# ") else sample).fullmatch(line), line


@given(families(names=st.sampled_from(["a", "b_seconds"]) | UTF_8, labels=(*LABELS, *UTF_8_LABELS)))
def test_any_family_is_of_the_grammar(family: Metric) -> None:
    check(render(ACCEPT, [family]).decode(), family.type)


def lines(*given_families: Metric) -> list[str]:
    return render(ACCEPT, given_families).decode().split("\n")[:-2]


def block(kind: str, *rows: Row, names: tuple[str, ...] = ("b",)) -> BlockFamily:
    family = Metric("a_seconds", 'Help "\n.', kind, "seconds")
    bounds = (0.5, 1.0) if kind == "histogram" else ()
    return BlockFamily(family, names, bounds, lambda: rows)


def test_a_counter() -> None:
    traced = {0: Exemplar({"trace_id": "t"}, 1.0, CREATED)}
    family = block("counter", Row(("x",), (3.0,), CREATED, traced), Row(("y",), (4.0,)))
    assert lines(family) == [
        "# TYPE a_seconds_total counter",
        "# UNIT a_seconds_total seconds",
        '# HELP a_seconds_total Help \\"\\n.',
        'a_seconds_total{b="x"} 3.0 st@1520430000.123 # {trace_id="t"} 1.0 1520430000.123',
        'a_seconds_total{b="y"} 4.0',
    ]


def test_a_histogram() -> None:
    traced = {0: Exemplar({"trace_id": "t"}, 0.2, CREATED), 2: Exemplar({}, 7.0)}
    row = Row(("x",), (1.0, 2.0, 4.0, 4.0, 9.5), CREATED, traced)
    (line,) = lines(block("histogram", row))[3:]
    # An exemplar without a time is none.
    assert line == (
        'a_seconds{b="x"} {count:4,sum:9.5,bucket:[0.5:1,1.0:2,+Inf:4]} st@1520430000.123'
        ' # {trace_id="t"} 0.2 1520430000.123'
    )
    check("\n".join([line, "# EOF\n"]), "histogram")


def test_a_native_histogram_and_its_classic_buckets() -> None:
    native = Native(3, 2.0**-128, 1.0, {-3: 2.0, -1: 1.0, 40: 3.0})
    family = block("histogram", Row((), (1.0, 9.0, 9.0, 9.0, 0.5), 0, None, native), names=())
    (line,) = lines(family)[3:]
    assert line == (
        "a_seconds {count:7,sum:0.5,schema:3,zero_threshold:2.938735877055719e-39,zero_count:1,"
        "positive_spans:[-3:3,40:1],positive_buckets:[2,0,1,3],bucket:[0.5:1,1.0:7,+Inf:7]}"
    )
    check("\n".join([line, "# EOF\n"]), "histogram")


@pytest.mark.parametrize(("kind", "name"), [("info", "a_info"), ("gauge", "a"), ("stateset", "a")])
def test_names_are_whole(kind: str, name: str) -> None:
    family = Metric("a", "", kind)
    family.samples.append(Sample(name, {"x": "y"}, 1.0, 12.5))
    assert lines(family) == [
        f"# TYPE {name} {kind}",
        f"# HELP {name} ",
        f'{name}{{x="y"}} 1.0 12.5',
    ]


def test_a_summary() -> None:
    family = block("summary", Row(("x",), (3.0, 0.25), CREATED))
    line = 'a_seconds{b="x"} {count:3,sum:0.25,quantile:[]} st@1520430000.123'
    assert lines(family)[3:] == [line]
