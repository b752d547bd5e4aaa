"""Where prometheus_client's parsers and ours both accept a page, they give the same families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as their_openmetrics
from prometheus_client.parser import text_string_to_metric_families as their_text

from check.random_pages import pages
from exposition.formats.comparing import OPENMETRICS, reads_utf_8, render
from exposition.formats.random_families import CLASSIC, LABELS, UTF_8, UTF_8_LABELS, families
from parser.shown import shown
from prom_middleware.parser import (
    ParseError,
    openmetrics_string_to_metric_families,
    text_string_to_metric_families,
)

pytestmark = pytest.mark.skipif(not reads_utf_8, reason="prometheus_client before 0.22")

Parser = Callable[[str], Any]
TEXT: tuple[Parser, Parser] = (text_string_to_metric_families, their_text)
OPEN: tuple[Parser, Parser] = (openmetrics_string_to_metric_families, their_openmetrics)
ANY = st.lists(
    families(st.one_of(CLASSIC, UTF_8), (*LABELS, *UTF_8_LABELS)),
    max_size=3,
    unique_by=lambda family: family.name,
)


def theirs(parse: Parser, page: str) -> list[Any] | None:
    """Return their families; None where they refuse the page, whatever they raise."""
    try:
        return shown(parse(page))
    except Exception:
        return None


def ours(parse: Parser, page: str) -> list[Any] | None:
    try:
        return shown(parse(page))
    except ParseError:
        return None


@given(ANY)
def test_openmetrics_of_any_family(given_families: list[Metric]) -> None:
    page = render(OPENMETRICS + ";escaping=allow-utf-8", given_families).decode()
    expected = theirs(OPEN[1], page)
    # What they refuse, such as an exemplar with a quote, is not always wrong.
    assert expected is None or ours(OPEN[0], page) == expected


@given(ANY)
def test_text_of_any_family(given_families: list[Metric]) -> None:
    page = render("text/plain;version=1.0.0;escaping=allow-utf-8", given_families).decode()
    assert ours(TEXT[0], page) == theirs(TEXT[1], page)


@given(pages())
def test_text_that_is_slightly_wrong(page: str) -> None:
    found, expected = ours(TEXT[0], page), theirs(TEXT[1], page)
    assert None in (found, expected) or found == expected


@given(ANY, st.data())
def test_openmetrics_that_is_slightly_wrong(given_families: list[Metric], data: Any) -> None:
    page = render(OPENMETRICS + ";escaping=allow-utf-8", given_families).decode()
    at = data.draw(st.integers(0, len(page)))
    wrong = data.draw(
        st.sampled_from([" ", "\n", "1", '"', "{", "}", ",", "#", "\\", "-", "_a", ""])
    )
    page = page[:at] + wrong + page[at + data.draw(st.integers(0, 1)) :]
    found, expected = ours(OPEN[0], page), theirs(OPEN[1], page)
    assert None in (found, expected) or found == expected


TEXT_PAGES = [
    "counter_total 1.0\n",
    "a 1\na 2\n",
    "# TYPE a counter\n# HELP a help\na 1\n",
    "# TYPE a_total counter\n# HELP a_total help\na_total 1\n",
    '# TYPE a summary\na_count 1\na_sum 2\na{quantile="0.5"} 3\n',
    '# TYPE a histogram\na_bucket{le="1"} 0\na_bucket{le="+Inf"} 3\na_count 3\na_sum 2\n',
    "# HELP a help\n# TYPE a gauge\n\n\n# a comment\n#\n# \n#a 1\na 1\n",
    "#HELP a b\na 1\n",
    " # HELP a \t b c \t\n  a  1  \n",
    "#\tTYPE\ta\tgauge\n#\tHELP\ta\thelp\na\t1\n",
    'a{foo="bar",} 1\na{ foo = "baz" , } 2\na\t{\tfoo\t=\t"x"\t}\t3\na{foo="y"}4\na{} 5\n',
    'a{foo="b\\"a\\\\r\\n"} 1\na{foo="x,y{}=#"} 1\na{foo=""} 1\na{foo="\\\\\\\\n"} 2\n',
    "a 1 1000\na 1 -500\na 2 0\na 3.5 1520879607789\n",
    "a +1\na -0\na 1e3\na .5\na 5.\na NaN\na +Inf\na -Inf\na 12345678901234567890\na 0x1\n"[:-6],
    "# HELP a\n# TYPE b gauge\nb 1\n",
    "# TYPE a gauge\na 1\nb 2\na 3\n",
    '# TYPE h histogram\nh 1\nh_bucket{le="+Inf"} 1\n',
    '# HELP "a.b" help\n# TYPE "a.b" counter\n{"a.b"} 1\n{"a.b","c d"="e"} 2\n{"x y"} 1\n',
    "# HELP a x\\\\y\\nz\n# TYPE a gauge\n",
    "",
    "\n",
]
# Without their end, `# EOF`.
OPENMETRICS_PAGES = [
    "# TYPE a counter\n# HELP a help\na_total 1\na_created 1.5\n",
    "# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n# HELP a_seconds help\na_seconds 1\n",
    "a 1\nb 2 1.5\n",
    "# HELP a \n# TYPE a unknown\na 1\n",
    '# HELP a x\\ny\\"z\\\\\\q \n# TYPE a gauge\na 1 1520879607.789000001\na 2 1520879608\n',
    '# TYPE a info\na_info{x="1"} 1\na_info{x="2"} 1\n',
    '# TYPE a stateset\na{a="on"} 1\na{a="off"} 0\n',
    (
        '# TYPE a histogram\na_bucket{le="1.0"} 1 # {t="x"} 0.5 1.25\na_bucket{le="+Inf"} 3\n'
        "a_count 3\na_sum 2\n"
    ),
    '# TYPE a gaugehistogram\na_bucket{le="+Inf"} 3\na_gcount 3\na_gsum -0\n',
    '# TYPE a summary\na{quantile="0.5"} 3\na_count 3\na_sum 2\n',
    '# TYPE a counter\na_total 1 # {} 1\n# TYPE b counter\nb_total 1 5 # {x="y"} 1 2\n',
    '# TYPE a gauge\na{foo="b\\"\\n\\\\\\q"} 1\n',
    "# TYPE a gauge\na 1 1\na 2 1\na 3 2\n",
    '# TYPE "a.b" gauge\n{"a.b"} 1\n{"a.b","c d"="e"} 2\n',
    (
        "# TYPE nh histogram\nnh {count:24,sum:100,schema:0,zero_threshold:0.001,zero_count:4,"
        "positive_spans:[0:2,1:2],negative_spans:[0:2,1:2],positive_deltas:[2,1,-3,3],"
        "negative_deltas:[2,1,-2,3]}\n"
    ),
    (
        '# TYPE nh histogram\nnh{a="b",c="d"} {count:24,sum:100,schema:0,zero_threshold:0.001,'
        "zero_count:4,positive_spans:[0:2,1:2],positive_deltas:[2,1,-3,3]}\n"
    ),
    "# TYPE nh histogram\nnh {count:4,sum:-1.5,schema:-4,zero_threshold:0,zero_count:4}\n",
    (
        "# TYPE nh histogram\nnh {count:4,sum:6,schema:3,zero_threshold:2e-05,zero_count:4}\n"
        'nh_bucket{le="+Inf"} 4\nnh_count 4\nnh_sum 6\n'
    ),
]


@pytest.mark.parametrize("place", range(len(TEXT_PAGES)))
def test_text(place: int) -> None:
    page = TEXT_PAGES[place]
    expected = theirs(TEXT[1], page)
    assert expected is not None
    assert ours(TEXT[0], page) == expected


@pytest.mark.parametrize("place", range(len(OPENMETRICS_PAGES)))
def test_openmetrics(place: int) -> None:
    page = OPENMETRICS_PAGES[place] + "# EOF\n"
    expected = theirs(OPEN[1], page)
    assert expected is not None
    assert ours(OPEN[0], page) == expected


def test_what_comes_out_is_theirs_and_equal() -> None:
    page = "# HELP a help\n# TYPE a gauge\na 1\n"
    assert list(text_string_to_metric_families(page)) == list(their_text(page))
    page = '# TYPE a counter\na_total 1 # {x="y"} 1 2.5\n# EOF\n'
    assert list(openmetrics_string_to_metric_families(page)) == list(their_openmetrics(page))
