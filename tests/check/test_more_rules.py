"""Each rule that promtool has not, with a page that promtool passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from check.promtool import promtool_says
from prom_middleware.check import check
from prom_middleware.check.reporting import as_text

HISTOGRAM = "# HELP h_seconds h\n# TYPE h_seconds histogram\n"
SUMMARY = "# HELP s s\n# TYPE s summary\n"
GAUGE = "# HELP a a\n# TYPE a gauge\n"
ENDS = "h_seconds_sum 1\nh_seconds_count 1\n"
MANY = "# HELP jobs_total j\n# TYPE jobs_total counter\n" + "".join(
    f'jobs_total{{queue="{number % 3}",id="{number}"}} 1\n' for number in range(1001)
)
# The rule, a page, and the metric, the text and the line of what it says.
PAGES = [
    (
        "more-units",
        "# HELP a_mebibytes a\n# TYPE a_mebibytes gauge\na_mebibytes 1\n",
        'a_mebibytes use base unit "bytes" instead of "mebibytes"',
        3,
    ),
    (
        "infinite-bucket",
        HISTOGRAM + 'h_seconds_bucket{le="1"} 1\n' + ENDS,
        'h_seconds histogram should have a bucket with le="+Inf"',
        3,
    ),
    (
        "count",
        HISTOGRAM + 'h_seconds_bucket{le="+Inf"} 5\n' + ENDS,
        'h_seconds count and bucket with le="+Inf" should be equal, not 1.0 and 5.0',
        5,
    ),
    (
        "decreasing-bucket",
        HISTOGRAM
        + 'h_seconds_bucket{le="1"} 5\nh_seconds_bucket{le="2"} 0\n'
        + 'h_seconds_bucket{le="+Inf"} 1\n'
        + ENDS,
        "h_seconds bucket with le=2.0 should not count less than the one before it",
        4,
    ),
    (
        "bucket-unique",
        HISTOGRAM
        + 'h_seconds_bucket{le="1"} 1\nh_seconds_bucket{le="1.0"} 1\n'
        + 'h_seconds_bucket{le="+Inf"} 1\n'
        + ENDS,
        "h_seconds bucket with le=1.0 not unique",
        4,
    ),
    (
        "bucket-order",
        HISTOGRAM
        + 'h_seconds_bucket{le="2"} 1\nh_seconds_bucket{le="1"} 1\n'
        + 'h_seconds_bucket{le="+Inf"} 1\n'
        + ENDS,
        'h_seconds buckets should be in the order of their "le" labels',
        4,
    ),
    (
        "bucket-label",
        HISTOGRAM + 'h_seconds_bucket{le="+Inf"} 1\nh_seconds_bucket 1\n' + ENDS,
        'h_seconds buckets should have an "le" label',
        4,
    ),
    (
        "quantile",
        SUMMARY + 's{quantile="1.5"} 1\ns_sum 1\ns_count 1\n',
        "s quantiles should be from 0 to 1",
        3,
    ),
    (
        "negative-counter",
        "# HELP a_total a\n# TYPE a_total counter\na_total -1\n",
        "a_total counters should not be negative",
        3,
    ),
    (
        "negative-counter",
        "# HELP a_total a\n# TYPE a_total counter\na_total NaN\n",
        "a_total counters should not be NaN",
        3,
    ),
    ("negative-counter", SUMMARY + "s_sum 1\ns_count -1\n", "s counters should not be negative", 4),
    (
        "label-order",
        GAUGE + 'a{x="1",y="2"} 1\na{y="2",x="1"} 2\n',
        "a metric not unique, with its labels in another order",
        4,
    ),
    ("label-order", SUMMARY + "s_sum 1\ns_count 1\ns_count 1\n", "s s_count not unique", 5),
    (
        "interleaved",
        GAUGE + 'a{x="1"} 1\n# HELP c c\n# TYPE c gauge\nc 1\na{x="2"} 1\n',
        "a samples should stand together, without those of other metrics between them",
        7,
    ),
    (
        "collision",
        "# HELP h_seconds_count h\nh_seconds_count 1\n"
        + HISTOGRAM
        + 'h_seconds_bucket{le="+Inf"} 1\nh_seconds_sum 1\n',
        'h_seconds_count metric name collides with the samples of histogram "h_seconds"',
        2,
    ),
    (
        "cardinality",
        MANY,
        'jobs_total high cardinality: 1001 label sets; label "id" has 1001 values',
        3,
    ),
]
PLACES = range(len(PAGES))


@pytest.mark.parametrize("place", PLACES)
def test_what_is_said(place: int) -> None:
    rule, page, text, line = PAGES[place]
    (found,) = check(page).problems
    assert (f"{found.metric} {found.text}", found.rule, found.line) == (text, rule, line)
    assert check(page).exit_code == 3


@pytest.mark.real
@pytest.mark.parametrize("place", PLACES)
def test_promtool_passes_it(place: int, real_program: Callable[[str, str], str]) -> None:
    page = PAGES[place][1].encode()
    assert promtool_says(real_program("promtool", "prometheus"), page) == (0, [])
    assert check(page, more=False).exit_code == 0


def test_newer_promtools_rule_of_timestamps() -> None:
    page = "# HELP a_timestamp_seconds a\n# TYPE a_timestamp_seconds histogram\n"
    page += 'a_timestamp_seconds_bucket{le="+Inf"} 1\n'
    (found,) = check(page).problems
    assert found.text == 'non-gauge metrics should not have "_timestamp_seconds" suffix'


@pytest.mark.parametrize("end", ["\r", "\r ", "\v", "\x85"])
def test_a_type_ends_with_blanks_at_most(end: str) -> None:
    report = check(f"# HELP a A.\n# TYPE a gauge{end}\na 1\n")
    assert report.exit_code == 1
    assert report.error is not None
    assert report.error.reason.startswith('unknown metric type "gauge')


@pytest.mark.parametrize(("line", "column"), [("a 1 \n", 4), ("abc 1 5 \t\n", 8)])
def test_blanks_at_the_end_are_an_error_where_they_begin(line: str, column: int) -> None:
    error = check(line).error
    assert error is not None
    assert (error.line, error.column) == (1, column)


@pytest.mark.parametrize("line", ['h_seconds_bucket{le="NaN"} -1', 'h_seconds_sum{le="1"} -1'])
def test_a_histogram_may_be_negative_in_what_is_no_count(line: str) -> None:
    report = check(HISTOGRAM + line + "\n", more=False)
    assert (report.error, report.exit_code) == (None, 0)


def test_nothing_is_said_of_what_is_right() -> None:
    page = HISTOGRAM
    for label in ("1", "2"):
        page += f'h_seconds_bucket{{x="{label}",le="1"}} {label}\n'
        page += f'h_seconds_bucket{{x="{label}",le="+Inf"}} 3\n'
        page += f'h_seconds_sum{{x="{label}"}} -1\nh_seconds_count{{x="{label}"}} 3\n'
    page += SUMMARY + 's{quantile="0"} NaN\ns{quantile="1"} -1\ns_sum 1\ns_count 1\n'
    report = check(page)
    assert (report.problems, report.exit_code, report.error) == ([], 0, None)


def test_a_remark_is_made_once_for_each_metric() -> None:
    page = GAUGE + "".join(f'a{{fooBar="{number}"}} 1\n' for number in range(9))
    (found,) = check(page).problems
    assert (found.rule, found.line) == ("camel-case", 3)


def test_the_limit_of_series_can_be_chosen() -> None:
    assert check(MANY, max_series=1001).exit_code == 0
    two = SUMMARY + "".join(f's_sum{{x="{x}"}} 1\ns_count{{x="{x}"}} 1\n' for x in "ab")
    assert check(two, max_series=2).exit_code == 0
    assert check(two, max_series=1).problems[0].rule == "cardinality"
    page = GAUGE + 'a{x="1"} 1\na{x="2"} 1\n'
    assert check(page, max_series=1).problems[0].rule == "cardinality"


def test_a_line_is_named_where_promtool_names_none() -> None:
    page = GAUGE.replace("# HELP a a\n", "") + 'a{x="1",y="2"} 1\na{y="2",x="1"} 2\n'
    assert as_text(check(page), "-").splitlines() == [
        "a metric not unique, with its labels in another order (line 3)",
        "a no help text",
    ]


def test_remarks_are_sorted() -> None:
    page = "# TYPE b gauge\nb 1\n# TYPE aB counter\naB 1\n"
    assert [(one.metric, one.text[:6]) for one in check(page).problems] == [
        ("aB", "counte"),
        ("aB", "metric"),
        ("aB", "no hel"),
        ("b", "no hel"),
    ]


def test_names_in_quotes() -> None:
    page = '# HELP "a.b" x\n# TYPE "a.b" gauge\n{"a.b"} 1\n'
    assert check(page).exit_code == 1
    assert check(page, utf8_names=True).exit_code == 0
