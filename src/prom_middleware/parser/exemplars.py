"""Lines of OpenMetrics, read with care: exemplars, native histograms, and what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client.samples import Exemplar, Sample

from prom_middleware.exposition.formats.openmetrics import LIMIT
from prom_middleware.parser.line import Line, go_quoted
from prom_middleware.parser.native import read_native
from prom_middleware.parser.numbers import number, seconds
from prom_middleware.parser.samples import A_NUMBER, Reading, read_labels, read_series

OPENMETRICS = Reading(strict=False, openmetrics=True)


def read_openmetrics_sample(line: Line, may_be_native: bool) -> Sample:
    """Read a line that is neither empty nor a comment. Raises ParseError."""
    name, labels = read_series(line, OPENMETRICS)
    read_space(line)
    if may_be_native and line.next() == "{":
        return read_native(line, name, labels)
    value = read_number(line, number, "float as value", A_NUMBER)
    time = exemplar = None
    if line.next() == " " and not line.text.startswith(" #", line.at):
        line.at += 1
        time = read_number(line, seconds, "time in seconds", "seconds since 1970")
    if line.next() == " ":
        exemplar = read_exemplar(line)
    if line.next() != "\n":
        raise line.error("there is something after the sample", expected="a line feed")
    return Sample(name, labels, value, time, exemplar)


def read_space(line: Line) -> None:
    """Read one blank. Raises ParseError."""
    if line.next() != " ":
        raise line.error(f"expected a blank, found {line.next()!r}", expected="one blank")
    line.at += 1


def read_number(line: Line, read: Callable[[str], Any], what: str, expected: str) -> Any:
    """Read a token that is `what` was expected. Raises ParseError."""
    start = line.at
    token = line.token()
    line.next()
    try:
        return read(token)
    except ValueError:
        raise line.error(f"expected {what}, got {go_quoted(token)}", start, expected) from None


def read_exemplar(line: Line, limit: int | None = LIMIT) -> Exemplar:
    """Read an exemplar, whose labels have at most `limit` characters. Raises ParseError."""
    start = line.at
    if not line.text.startswith(" # {", start):
        raise line.error("invalid exemplar", start, "a blank, #, a blank and labels")
    line.at += 3
    name, labels = read_labels(line, "", OPENMETRICS)
    if name:  # as a metric may have its own between its labels
        raise line.error(f"label {go_quoted(name)} has no value", start, 'labels, each with ="..."')
    length = sum(len(name) + len(value) for name, value in labels.items())
    if limit is not None and length > limit:
        expected = f"at most {limit} characters of names and values"
        raise line.error("the labels of an exemplar are too long", start, expected)
    read_space(line)
    value = read_number(line, number, "float as value", A_NUMBER)
    time = None
    if line.next() == " ":
        line.at += 1
        time = read_number(line, seconds, "time in seconds", "seconds since 1970")
    return Exemplar(labels, value, time)
