"""Not strict: what can be read is read, the rest is left out, and nothing is raised."""

from __future__ import annotations

import pytest
from prometheus_client import Metric

from exposition.formats.comparing import PROTOBUF, render
from prom_middleware.parser import ParseError, parse

TEXT, OPENMETRICS = "text/plain", "application/openmetrics-text"


def values(page: str | bytes, content_type: str = TEXT) -> list[tuple[str, float]]:
    families = parse(page, content_type, strict=False)
    return [(one.name, one.value) for family in families for one in family.samples]


@pytest.mark.parametrize(
    "page",
    [
        "a 1\n???\nb 2\n",
        "a 1\r\n\r\nb 2\r\n",
        "a 1\nb 2",
        "a 1\n# TYPE a gauge\n# TYPE a gauge\nb 2\n",
        "# TYPE a sometype\na 1\nb 2\n",
        'a 1\nc{x="1",x="2"} 1\nb 2\n',
        "a 1\nc 1_0\nb 2\nd 1 x\n",
        "<html>\na 1\nb 2\n</html>",
    ],
    ids=range(8),
)
def test_text(page: str) -> None:
    with pytest.raises(ParseError):
        list(parse(page, TEXT))
    assert values(page) == [("a", 1), ("b", 2)]


def test_what_is_told_in_openmetrics_has_no_blanks_after_it() -> None:
    page = "# HELP a_s Help. \t\n# TYPE a_s gauge \n# UNIT a_s s\r\na_s 1\n# EOF\n"
    (family,) = parse(page, OPENMETRICS, strict=False)
    assert (family.documentation, family.type, family.unit) == ("Help.", "gauge", "s")


def test_escapes_that_there_are_not_stay() -> None:
    (family,) = parse('# HELP a \\x\na{b="\\d"} 1\n', TEXT, strict=False)
    assert (family.documentation, family.samples[0].labels) == ("\\x", {"b": "\\d"})


def test_bytes_that_are_no_utf_8() -> None:
    (family,) = parse(b'a{b="\xff"} 1\n', TEXT, strict=False)
    assert family.samples[0].labels == {"b": "\N{REPLACEMENT CHARACTER}"}


@pytest.mark.parametrize(
    "page",
    [
        "a 1\n\nb 2\n",
        "a 1\n# a comment\nb 2\n# EOF\nc 3\n",
        "a 1\n  b 2\r\n# EOF\r\n",
        "# TYPE c counter\nc_total?\n# HELP a x\n# HELP a y\na 1\nb 2\n",
    ],
    ids=range(4),
)
def test_openmetrics(page: str) -> None:
    with pytest.raises(ParseError):
        list(parse(page, OPENMETRICS))
    assert values(page, OPENMETRICS) == [("a", 1), ("b", 2)]


def test_samples_that_make_no_sense() -> None:
    page = "# TYPE a counter\na_total -1\n# TYPE h histogram\nh_count 2.5\n"
    assert values(page, OPENMETRICS) == [("a_total", -1), ("h_count", 2.5)]


def test_protobuf_ends_before_what_is_damaged() -> None:
    family = Metric("a", "", "gauge")
    family.add_sample("a", {}, 1)
    whole = render(PROTOBUF, [family])
    assert values(whole + whole[:-1], PROTOBUF) == [("a", 1)]
    assert values(b"\xff" * 20, PROTOBUF) == []
