"""Lines of the text format, read with care: what is wrong, where, and what was expected.

https://prometheus.io/docs/instrumenting/exposition_formats/

What that leaves open, and the words of errors, are as in Prometheus' own parser (common/expfmt).
"""

from __future__ import annotations

import re
import string
from typing import NamedTuple

from prometheus_client.samples import Sample

from prom_middleware import naming
from prom_middleware.parser.declared import Comment, Declared
from prom_middleware.parser.line import UNESCAPED_HELP, Line, go_byte, go_quoted, unescape
from prom_middleware.parser.numbers import is_number, milliseconds, number

METRIC_NAME = re.compile(naming.METRIC_NAME)
LABEL_NAME = re.compile(naming.LABEL_NAME)
A_NAME = "a name of letters, digits, _ and :, or any name between quotes"
A_NUMBER = "a decimal number, NaN, +Inf or -Inf"


class Reading(NamedTuple):
    """How lines are read.

    `strict` refuses escapes that there are not; `utf8_names` are names between quotes; OpenMetrics
    has no comma after the last label, and names that begin with `__` are reserved. What is
    `declared` says which metric a sample is of, and whether one of its labels is a number.
    """

    strict: bool = True
    utf8_names: bool = True
    openmetrics: bool = False
    declared: Declared | None = None

    def family_of(self, name: str) -> str:
        """Return the name of the metric that a sample is of."""
        return self.declared.family_of(name) if self.declared else name

    def bound_of(self, name: str) -> str | None:
        """Return which label of a sample is a number, if it is known to be one."""
        return self.declared.bound_of(name) if self.declared else None


ANY = Reading(strict=False)


def told(text: str) -> str:
    """Return what a comment tells, without what is blank around it, as `prometheus_client` does."""
    return text.lstrip(string.whitespace).rstrip()


def read_comment(line: Line, how: Reading) -> Comment | None:
    """Read a line that begins with `#`; None for one that tells nothing."""
    line.skip_blanks()
    line.at += 1
    line.skip_blanks()
    keyword = line.token()
    if keyword not in ("HELP", "TYPE") or line.next() == "\n":
        return None
    line.skip_blanks()
    name = read_metric_name(line, how)
    if line.next() == "\n":
        return Comment(keyword, name, "") if name else None
    if line.next() not in " \t":
        expected = "a blank after the name" if name else A_NAME
        raise line.error("invalid metric name in comment", expected=expected)
    line.skip_blanks()
    start, line.at = line.at, len(line.text)
    text = line.text[start:].rstrip(" \t\n")  # all else is a part of a type for Go's parser
    if keyword == "HELP":
        text = unescape(line, told(text), start, how.strict, UNESCAPED_HELP)
    line.check_end()
    return Comment(keyword, name, text)


def read_sample(line: Line, how: Reading) -> Sample:
    """Read a line that is neither empty nor a comment."""
    line.skip_blanks()
    name, labels = read_series(line, how)
    line.skip_blanks()
    value = _value(line)
    return Sample(name, labels, value, _time(line))


def read_series(line: Line, how: Reading) -> tuple[str, dict[str, str]]:
    """Read a name and labels, each of which may be in the other's place or not there."""
    name, start = "", line.at
    if line.next() != "{":
        name = read_metric_name(line, how)
        if not name:
            raise line.error("invalid metric name", expected=A_NAME)
        line.skip_blanks()
    if line.next() != "{":
        return name, {}
    name, labels = read_labels(line, name, how)
    if not name:
        raise line.error("invalid metric name", start, "a name, before or in the brackets")
    return name, labels


def read_metric_name(line: Line, how: Reading = ANY) -> str:
    """Read a name, which may be empty if it is not between quotes."""
    start = line.at
    if line.next() != '"':
        return line.match(METRIC_NAME)
    name = line.quoted("metric name", how.strict)
    _check_name(line, name, how, start)
    return name


def _check_name(line: Line, name: str, how: Reading, at: int) -> None:
    if not name or not (how.utf8_names or METRIC_NAME.fullmatch(name)):
        raise line.error(f"invalid metric name {go_quoted(name)}", at, A_NAME)


def read_labels(line: Line, outside: str, how: Reading) -> tuple[str, dict[str, str]]:
    """Read labels, and the metric's name where that is between them and not `outside`."""
    name, labels = outside, dict[str, str]()
    while line.next() != "}":
        line.at += 1  # over the bracket, or a comma
        line.skip_blanks()
        if line.next() == "}":
            _check_comma(line, how)
            break
        start = line.at
        key = _label_name(line, how, name)
        line.skip_blanks()
        if line.next() == "=":
            _check_label_name(line, key, start, how)
            _check_label(line, key, labels, how, name, start)
            labels[key] = _label_value(line, how, key, name)
        else:
            name = _name_in_braces(line, key, name, outside, start, how)
    line.at += 1
    return name, labels


def _check_comma(line: Line, how: Reading) -> None:
    if how.openmetrics and line.text[line.at - 1] == ",":
        raise line.error("there is a comma after the last label", line.at - 1, "}")


def _name_in_braces(
    line: Line, found: str, before: str, outside: str, at: int, how: Reading
) -> str:
    following = go_byte(line.next())
    if outside:
        reason = f"expected '=' after label name, found {following}"
        raise line.error(reason, expected="an equals sign")
    if before:
        raise line.error(f"multiple metric names for metric {go_quoted(how.family_of(before))}", at)
    if line.next() not in ",}":
        raise line.error(f"unexpected end of metric name {following}", expected="a comma, or }")
    _check_name(line, found, how, at)
    return found


def _label_name(line: Line, how: Reading, metric: str) -> str:
    is_quoted = line.next() == '"'
    name = line.quoted("label name", how.strict) if is_quoted else line.match(LABEL_NAME)
    if not name:
        shown = go_quoted(how.family_of(metric))
        raise line.error(f"invalid label name for metric {shown}", expected="a label's name, or }")
    return name


def _check_label(
    line: Line, key: str, labels: dict[str, str], how: Reading, metric: str, at: int
) -> None:
    if key == "__name__":
        raise line.error('label name "__name__" is reserved', at)
    # Go's parser keeps bounds and quantiles apart from the labels: the last of several counts.
    if key in labels and key != how.bound_of(metric):
        shown = go_quoted(how.family_of(metric))
        raise line.error(f"duplicate label names for metric {shown}", at, "a label once only")


def _check_label_name(line: Line, key: str, at: int, how: Reading) -> None:
    if not (how.utf8_names or LABEL_NAME.fullmatch(key)):
        raise line.error(f"invalid label name {go_quoted(key)}", at, "letters, digits and _")
    if how.openmetrics and key.startswith("__"):
        raise line.error(f"label name {go_quoted(key)} is reserved", at)


def _label_value(line: Line, how: Reading, key: str, metric: str) -> str:
    line.at += 1
    line.skip_blanks()
    if line.next() != '"':
        found = go_byte(line.next())
        reason = f"expected '\"' at start of label value, found {found}"
        raise line.error(reason, expected="a value between quotes")
    start = line.at
    value = line.quoted("label value", how.strict)
    if how.bound_of(metric) == key and not is_number(value):
        reason = f"expected float as value for '{key}' label, got {go_quoted(value)}"
        raise line.error(reason, start, A_NUMBER)
    line.skip_blanks()
    if line.next() not in ",}":
        reason = f"unexpected end of label value {go_quoted(value)}"
        raise line.error(reason, expected="a comma, or }")
    return value


def _value(line: Line) -> float:
    start = line.at
    token = line.token()
    line.next()
    try:
        return number(token)
    except ValueError:
        reason = f"expected float as value, got {go_quoted(token)}"
        raise line.error(reason, start, A_NUMBER) from None


def _time(line: Line) -> float | None:
    line.skip_blanks()
    if line.next() == "\n":
        return None
    start = line.at
    token = line.token()
    line.next()
    try:
        time = milliseconds(token)
    except ValueError:
        reason = f"expected integer as timestamp, got {go_quoted(token)}"
        raise line.error(reason, start, "milliseconds since 1970, or a line feed") from None
    rest = line.text[line.at :].removesuffix("\n")
    if rest.strip(" \t"):
        line.check_end()
        reason = f"spurious string after timestamp: {go_quoted(rest)}"
        raise line.error(reason, expected="a line feed")
    return time
