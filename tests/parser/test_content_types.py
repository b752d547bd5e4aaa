"""Which parser a Content-Type means."""

from __future__ import annotations

import io

import pytest
from prometheus_client import Metric

from exposition.formats.comparing import PROTOBUF, render
from prom_middleware.parser import ParseError, parse, text_fd_to_metric_families

TEXT = [
    "",
    "text/plain",
    "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
    "text/plain;version=1.0.0",
    "application/x-www-form-urlencoded",
    "nonsense",
    ";;",
]
OPENMETRICS = [
    "application/openmetrics-text",
    "Application/OpenMetrics-Text; version=1.0.0; charset=utf-8",
]


@pytest.mark.parametrize("content_type", TEXT)
def test_text(content_type: str) -> None:
    for body in ("a  1\n", b"a  1\n"):
        assert [one.name for one in parse(body, content_type)] == ["a"]


@pytest.mark.parametrize("content_type", OPENMETRICS)
def test_openmetrics(content_type: str) -> None:
    for body in ("a 1\n# EOF\n", b"a 1\n# EOF\n"):
        assert [one.name for one in parse(body, content_type)] == ["a"]
    with pytest.raises(ParseError):
        list(parse("a 1\n", content_type))


def test_protobuf() -> None:
    family = Metric("a", "", "gauge")
    family.add_sample("a", {}, 1)
    body = render(PROTOBUF, [family])
    assert [one.name for one in parse(body, PROTOBUF)] == ["a"]
    # As Go has it, what does not say that it is delimited is text.
    with pytest.raises(ParseError, match="line 1"):
        list(parse(body, "application/vnd.google.protobuf"))


def test_lines_are_read_when_they_are_asked_for() -> None:
    lines = io.StringIO("a 1\nb 1\nc 1\n")
    families = text_fd_to_metric_families(lines)
    assert next(families).name == "a"
    assert lines.readline() == "b 1\n"
    assert [one.name for one in families] == ["c"]
