"""What is refused, and that the error says where, and what was expected there."""

from __future__ import annotations

import pickle

import pytest

from prom_middleware.errors import PromMiddlewareError
from prom_middleware.parser import (
    ParseError,
    openmetrics_string_to_metric_families,
    parse,
    text_string_to_metric_families,
)

# A page, and the line, column and reason of what is wrong with it; reasons are promtool's.
TEXT = [
    ("???\n", 1, 1, "invalid metric name"),
    ("a 1\nb b\n", 2, 3, 'expected float as value, got "b"'),
    ("a-b 1\n", 1, 2, 'expected float as value, got "-b"'),
    ("a\n", 1, 2, 'expected float as value, got ""'),
    ("a 1_000\n", 1, 3, 'expected float as value, got "1_000"'),
    ("a +nan\n", 1, 3, 'expected float as value, got "+nan"'),
    ("a 1e400\n", 1, 3, 'expected float as value, got "1e400"'),
    ("a 1\r\n", 1, 3, 'expected float as value, got "1\\r"'),
    ("a ١\n", 1, 3, 'expected float as value, got "١"'),
    (f"a {'9' * 5000}\n", 1, 3, f'expected float as value, got "{"9" * 5000}"'),
    ("a 1", 1, 4, "unexpected end of input stream"),
    ("# a comment", 1, 12, "unexpected end of input stream"),
    ('a{b="1', 1, 7, "unexpected end of input stream"),
    ("a 1 1.5\n", 1, 5, 'expected integer as timestamp, got "1.5"'),
    ('a 1 # {t="1"} 1\n', 1, 5, 'expected integer as timestamp, got "#"'),
    ("a 1 9223372036854775808\n", 1, 5, 'expected integer as timestamp, got "9223372036854775808"'),
    ("a 1 2 3\n", 1, 6, 'spurious string after timestamp: " 3"'),
    ('a{b="1" 1\n', 1, 9, 'unexpected end of label value "1"'),
    ('a{b="1"c="2"} 1\n', 1, 8, 'unexpected end of label value "1"'),
    ("a{b} 1\n", 1, 4, "expected '=' after label name, found '}'"),
    ("a{b=1} 1\n", 1, 5, "expected '\"' at start of label value, found '1'"),
    ('a{b="1\n', 1, 7, 'label value "1" contains unescaped new-line'),
    ('a{b="\\d"} 1\n', 1, 6, "invalid escape sequence '\\d'"),
    ('a{b="\\\n', 1, 6, "invalid escape sequence '\\\n'"),
    ('a{b="1\\\n"} 1\n', 1, 7, "invalid escape sequence '\\\n'"),
    ('a{b="\\', 1, 7, "unexpected end of input stream"),
    ("# HELP a \\\n", 1, 10, "invalid escape sequence '\\\n'"),
    ("a{1} 1\n", 1, 3, 'invalid label name for metric "a"'),
    ("a{,} 1\n", 1, 3, 'invalid label name for metric "a"'),
    ('a{b="1",b="2"} 1\n', 1, 9, 'duplicate label names for metric "a"'),
    ('a{__name__="b"} 1\n', 1, 3, 'label name "__name__" is reserved'),
    ('{"a","b"} 1\n', 1, 6, 'multiple metric names for metric "a"'),
    ('{"a" b="1"} 1\n', 1, 6, "unexpected end of metric name 'b'"),
    ('{b="1"} 1\n', 1, 1, "invalid metric name"),
    ("{} 1\n", 1, 1, "invalid metric name"),
    ('{""} 1\n', 1, 4, 'invalid label name for metric ""'),
    ("# HELP 1 x\n", 1, 8, "invalid metric name in comment"),
    ("# HELP a-b x\n", 1, 9, "invalid metric name in comment"),
    ("# HELP a \\x\n", 1, 10, "invalid escape sequence '\\x'"),
    ("# TYPE a info\n", 1, 10, 'unknown metric type "info"'),
    ("# TYPE a gauge\r\n", 1, 10, 'unknown metric type "gauge\\r"'),
    ("# HELP a A.\n# TYPE a gauge\r \na 1\n", 2, 10, 'unknown metric type "gauge\\r"'),
    (
        '# TYPE h histogram\nh 1\nh_bucket{le="x"} 1\n',
        3,
        13,
        "expected float as value for 'le' label, got \"x\"",
    ),
    ("# HELP a x\n# HELP a y\n", 2, 1, 'second HELP line for metric name "a"'),
    (
        "# TYPE h histogram\nh_count 1\n# TYPE h_count gauge\n",
        3,
        1,
        'second TYPE line for metric name "h", or TYPE reported after samples',
    ),
    (
        "a 1\n# TYPE a gauge\n",
        2,
        1,
        'second TYPE line for metric name "a", or TYPE reported after samples',
    ),
    (
        "a 1\nb 1\n# HELP c x\n# TYPE c gauge\nd 1\n# TYPE b gauge\n",
        6,
        1,
        'second TYPE line for metric name "b", or TYPE reported after samples',
    ),
    (
        '# TYPE h histogram\nh_bucket{le="x"} 1\n',
        2,
        13,
        "expected float as value for 'le' label, got \"x\"",
    ),
    (
        '# TYPE s summary\ns{x="1", quantile="x"} 1\n',
        2,
        19,
        "expected float as value for 'quantile' label, got \"x\"",
    ),
]
# The same, without the end of the page; reasons are ours.
OPENMETRICS = [
    ("a 1\n\n", 2, 1, "there is a blank line"),
    ("a  1\n", 1, 3, 'expected float as value, got ""'),
    (" a 1\n", 1, 1, "invalid metric name"),
    ("a 1 \n", 1, 5, 'expected time in seconds, got ""'),
    ("a\t1\n", 1, 2, "expected a blank, found '\\t'"),
    ("a 1 x\n", 1, 5, 'expected time in seconds, got "x"'),
    ("a 1 NaN\n", 1, 5, 'expected time in seconds, got "NaN"'),
    ('a{b="1",} 1\n', 1, 8, "there is a comma after the last label"),
    ('a{ b="1"} 1\n', 1, 3, 'invalid label name for metric "a"'),
    ('a{__b="1"} 1\n', 1, 3, 'label name "__b" is reserved'),
    ("# a comment\n", 1, 1, "this is no comment"),
    ("#HELP a b\n", 1, 1, "this is no comment"),
    ("# TYPE a untyped\n", 1, 10, "unknown metric type 'untyped'"),
    ("# TYPE a gauge\n# TYPE a gauge\n", 2, 1, "there is a second TYPE line"),
    ("a 1\n# HELP a b\n", 2, 1, "there is a HELP line after samples"),
    ("# TYPE a counter\na_total -1\n", 2, 1, "what counts is neither negative nor NaN"),
    ("# TYPE a counter\na_total NaN\n", 2, 1, "what counts is neither negative nor NaN"),
    ("# TYPE a info\na_info 2\n", 2, 1, "the value of an info is 1"),
    ("# TYPE a stateset\na 1\n", 2, 1, "a state set needs a label a"),
    ('# TYPE a stateset\na{a="b"} 2\n', 2, 1, "a state is 0 or 1"),
    ("# TYPE a summary\na 2\n", 2, 1, "a summary needs a label quantile, from 0 to 1"),
    ("# TYPE a histogram\na_bucket 2\n", 2, 1, "a bucket needs a label le, a number or +Inf"),
    (
        '# TYPE a histogram\na_bucket{le="inf"} 2\n',
        2,
        1,
        "a bucket needs a label le, a number or +Inf",
    ),
    ('# TYPE a histogram\na_bucket{le="1"} 2.5\n', 2, 1, "a count has to be an integer"),
    ('# TYPE a histogram\na_bucket{le="1"} 2\n', 1, 1, "a: there is no bucket +Inf"),
    (
        '# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\n',
        1,
        1,
        "a: a bucket counts less than the one before",
    ),
    (
        '# TYPE a histogram\na_bucket{le="+Inf"} 1\na_count 2\na_sum 2\n',
        1,
        1,
        "a: the count differs from the bucket +Inf",
    ),
    (
        '# TYPE a histogram\na_bucket{le="-1"} 0\na_bucket{le="+Inf"} 1\na_count 1\na_sum 2\n',
        1,
        1,
        "a: there is a sum, and a bucket for what is negative",
    ),
    (
        '# TYPE a gaugehistogram\na_bucket{le="+Inf"} 1\na_gcount 1\na_gsum -2\n',
        1,
        1,
        "a: the sum is negative, but no bucket is",
    ),
    ("# TYPE a_b info\n# UNIT a_b b\n", 1, 1, "a_b: a family of type info has no unit"),
    (
        '# TYPE a histogram\na_bucket{le="+Inf"} 1\na_count 1\n',
        1,
        1,
        "a: there is a sum without a count, or a count without a sum",
    ),
    ('a 1 # {x="y"} 1\n', 1, 1, "only counters and buckets have exemplars"),
    ("# TYPE a counter\na_total 1 # x\n", 2, 10, "invalid exemplar"),
    ("# TYPE a counter\na_total 1 # {t} 1\n", 2, 10, 'label "t" has no value'),
    ('# TYPE a counter\na_total 1 # {t,i="x"} 1\n', 2, 10, 'label "t" has no value'),
    ('# TYPE a counter\na_total 1 # {i="x","t"} 1\n', 2, 10, 'label "t" has no value'),
    ('# TYPE a counter\na_total 1 # {x="y"}\n', 2, 20, "expected a blank, found '\\n'"),
    (
        f'# TYPE a counter\na_total 1 # {{x="{"y" * 128}"}} 1\n',
        2,
        10,
        "the labels of an exemplar are too long",
    ),
    (
        'a{b="1"} 1\na{b="2"} 1\na{b="1"} 1\n',
        3,
        1,
        "the samples of a label set do not stand together",
    ),
    ("a 1 2\na 1 1\n", 2, 1, "the times of a label set go back"),
    ("a 1\na 1 1\n", 2, 1, "some samples of a label set have a time, and some have none"),
    ("# UNIT a seconds\na 1\n", 1, 1, "a: the name has to end with the unit, _seconds"),
    ("# TYPE a counter\na_total 1\na_total2 1\na 1\n", 4, 1, "a: the name is another family's: a"),
    ("# TYPE nh histogram\nnh {count:1}\n", 2, 4, "invalid native histogram"),
    ("# TYPE nh histogram\nnh {count:1,sum:x\n", 2, 4, "invalid native histogram"),
]


def error_of(parser: object, page: str) -> ParseError:
    with pytest.raises(ParseError) as caught:
        list(parser(page))  # type: ignore[operator]
    return caught.value


@pytest.mark.parametrize("place", range(len(TEXT)))
def test_text(place: int) -> None:
    page, line, column, reason = TEXT[place]
    error = error_of(text_string_to_metric_families, page)
    assert (error.line, error.column, error.reason) == (line, column, reason)
    assert str(error).startswith(f"line {line}, column {column}: {reason}")


@pytest.mark.parametrize("place", range(len(OPENMETRICS)))
def test_openmetrics(place: int) -> None:
    page, line, column, reason = OPENMETRICS[place]
    error = error_of(openmetrics_string_to_metric_families, page + "# EOF\n")
    assert (error.line, error.column, error.reason) == (line, column, reason)


# OpenMetrics 2.0, also without its end.
DRAFT = [
    ("a\n", 1, 2, "expected a blank, found '\\n'"),
    ("a {\n", 1, 3, 'expected float as value, got "{"'),
    ("a {count:3}\n", 1, 3, 'expected float as value, got "{count:3}"'),
    (
        "# TYPE a gauge\na {count:1,sum:2}\n",
        2,
        3,
        'expected float as value, got "{count:1,sum:2}"',
    ),
    ("# TYPE h histogram\nh 5\n", 2, 3, "expected parts as value of a histogram"),
    ("# TYPE h gaugehistogram\nh 5\n", 2, 3, "expected parts as value of a gaugehistogram"),
    ("# TYPE s summary\ns 7\n", 2, 3, "expected parts as value of a summary"),
    *(
        (f"# TYPE {kind}\na {value}\n", 2, 3, "invalid value of several parts")
        for kind, value in (
            ("a summary", "{"),
            ("a summary", "{}"),
            ("a summary", "{count:x,sum:1}"),
            ("a summary", "{count:1}"),
            ("a summary", "{sum:1}"),
            ("a summary", "{count:1,sum:1,bucket:[1:1]}"),
            ("a summary", "{count:1,sum:1,other:1}"),
            ("a histogram", "{count:1,sum:1,bucket:[1:2:3]}"),
            ("a histogram", "{bucket:[1:2]}"),
            ("a histogram", "{gcount:1,gsum:1}"),
            ("a histogram", "{count:1,sum:1,quantile:[1:1]}"),
            ("a histogram", "{count:1,sum:1,value:1}"),
            ("a gaugehistogram", "{gcount:1}"),
            ("a histogram", "{count:1,sum:1,positive_spans:[0:1],positive_buckets:[1]}"),
            ("a histogram", "{count:1,sum:1,schema:0,zero_count:1}"),
        )
    ),
    ("a 1 st@x\n", 1, 8, 'expected time in seconds, got "x"'),
    ("a 1 # x\n", 1, 4, "invalid exemplar"),
    ("# TYPE a nothing\n", 1, 10, "unknown metric type 'nothing'"),
    ("\n", 1, 1, "invalid metric name"),
    ("# EOF\na 1\n", 2, 1, "there is something after # EOF"),
]


@pytest.mark.parametrize("place", range(len(DRAFT)))
def test_draft(place: int) -> None:
    page, line, column, reason = DRAFT[place]
    with pytest.raises(ParseError) as caught:
        list(parse(page + "# EOF\n", "application/openmetrics-text; version=2.0.0"))
    error = caught.value
    assert (error.line, error.column, error.reason) == (line, column, reason)


def test_gauge_histograms_of_several_drafts() -> None:
    for parts in ("gcount:1,gsum:2", "count:1,sum:2"):
        page = f"# TYPE a gaugehistogram\na {{{parts},bucket:[+Inf:1]}}\n# EOF\n"
        (family,) = parse(page, "application/openmetrics-text; version=2.0.0")
        found = [(sample.name, sample.value) for sample in family.samples]
        assert found == [("a_bucket", 1), ("a_gcount", 1), ("a_gsum", 2)]


def test_openmetrics_has_an_end() -> None:
    error = error_of(openmetrics_string_to_metric_families, "a 1\n")
    assert str(error) == "line 2, column 1: unexpected end of input stream (expected # EOF)"
    error = error_of(openmetrics_string_to_metric_families, "a 1\n# EOF\n\n")
    assert (error.line, error.expected) == (3, "nothing")
    assert list(openmetrics_string_to_metric_families("a 1\n# EOF"))


def test_what_was_expected() -> None:
    error = error_of(text_string_to_metric_families, "a{b=1} 1\n")
    assert str(error) == (
        "line 1, column 5: expected '\"' at start of label value, found '1' "
        "(expected a value between quotes)"
    )


def test_families_before_the_error_are_given() -> None:
    families = text_string_to_metric_families("a 1\nb 1\n?\n")
    assert [next(families).name, next(families).name] == ["a", "b"]
    with pytest.raises(ParseError):
        next(families)


@pytest.mark.once  # 200,000 samples
@pytest.mark.parametrize("at", ["0", "199999", "200000", "200001"])
def test_nothing_is_told_of_one_of_many_samples_that_nothing_was_told_of(at: str) -> None:
    page = "".join(map("a{} 1\n".format, range(200_002)))
    with pytest.raises(ParseError, match=f'second TYPE line for metric name "a{at}"'):
        list(text_string_to_metric_families(f"{page}# TYPE a{at} gauge\n"))


def test_names_in_quotes_can_be_refused() -> None:
    page = '{"my.metric","l.x"="1"} 5\n'
    assert len(list(text_string_to_metric_families(page))) == 1
    with pytest.raises(ParseError, match=r'invalid metric name "my\.metric"'):
        list(text_string_to_metric_families(page, utf8_names=False))
    with pytest.raises(ParseError, match=r'invalid label name "l\.x"'):
        list(parse('a{"l.x"="1"} 5\n', "", utf8_names=False))


def test_text_that_is_no_utf_8() -> None:
    with pytest.raises(ParseError) as caught:
        list(parse(b'a 1\nb{x="\xc3\xa9\xff"} 1\n', "text/plain"))
    assert (caught.value.line, caught.value.column) == (2, 7)


def test_the_error_is_one_of_the_tree_and_can_be_sent_to_another_process() -> None:
    error = error_of(text_string_to_metric_families, "?\n")
    assert isinstance(error, PromMiddlewareError)
    assert isinstance(error, ValueError)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.expected) == (str(error), error.expected)
