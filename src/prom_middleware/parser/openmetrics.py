"""OpenMetrics, version 1.0.0: no blank line, no spare blank, and an end that is marked.

https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import Metric as MetricFamily
from prometheus_client.metrics_core import METRIC_TYPES
from prometheus_client.samples import Sample

from prom_middleware.errors import ParseError
from prom_middleware.parser.declared import Comment
from prom_middleware.parser.exemplars import read_openmetrics_sample
from prom_middleware.parser.line import UNESCAPED, Line, unescape
from prom_middleware.parser.quick import openmetrics_sample
from prom_middleware.parser.rules import ENDINGS, Group, family_problem, group_of, sample_problem
from prom_middleware.parser.samples import read_metric_name

END = "# EOF"
KEYWORDS = ("HELP", "TYPE", "UNIT")


def openmetrics_string_to_metric_families(
    text: str, *, strict: bool = True
) -> Iterator[MetricFamily]:
    """Yield the families of a page in OpenMetrics, as `openmetrics_fd_to_metric_families` does."""
    return openmetrics_fd_to_metric_families(io.StringIO(text), strict=strict)


def openmetrics_fd_to_metric_families(
    fd: Iterable[str], *, strict: bool = True
) -> Iterator[MetricFamily]:
    """Yield the families of the lines of `fd`, which end with a line feed, as they are read.

    Times are `Timestamp` where they have no exponent, else seconds. Not strict, lines that cannot
    be read are left out, and nobody looks whether samples make sense. Raises ParseError.
    """
    page = _Page(strict)
    quick = openmetrics_sample()
    for number, text in enumerate(fd, 1):
        line = Line(text, number, has_blanks=False)
        try:
            if page.ended:
                raise line.error("there is something after # EOF", expected="nothing")
            sample = quick(text)
            if sample is None:
                yield from page.read(line)
            else:
                yield from page.add(sample, line)
        except ParseError:
            if strict:
                raise
    yield from page.end()
    if strict and not page.ended:
        raise ParseError("unexpected end of input stream", page.number + 1, 1, "# EOF")


class _Page:
    """The family that is being read, and what has to be known of those before."""

    def __init__(self, strict: bool) -> None:
        self.ended = False
        self.number = 0
        self._strict = strict
        self._seen: set[str] = set()
        self._begin(None, 0)

    def _begin(self, name: str | None, number: int) -> None:
        self._name, self._started = name, number
        self._told: dict[str, str] = {}
        self._kind = "unknown"
        self._samples: list[Sample] = []
        self._grouping = _Grouping()
        self._allowed = frozenset(() if name is None else (name,))

    def read(self, line: Line) -> Iterator[MetricFamily]:
        """Read a line that was not read quickly."""
        self.number = line.number
        if not self._strict:
            line.text = line.text.strip() + "\n"
        text = line.text.removesuffix("\n")
        if text == END:
            self.ended = True
        elif not text:
            raise line.error("there is a blank line", expected="a sample, a comment or # EOF")
        elif text[0] == "#":
            yield from self._tell(line, read_comment(line))
        else:
            sample = read_openmetrics_sample(line, self._kind == "histogram")
            yield from self.add(sample, line)

    def add(self, sample: Sample, line: Line) -> Iterator[MetricFamily]:
        """Add a sample; yield the family, if it is of another one."""
        self.number = line.number
        native = getattr(sample, "native_histogram", None) is not None
        if native and sample.name != self._name:
            raise line.error("a native histogram has the name of its family", 0)
        if sample.name not in self._allowed and not native:
            yield from self.end()
            self._begin(sample.name, line.number)
        if native:
            self._samples.append(sample)
            return
        family = self._name or ""
        if self._strict and (problem := sample_problem(family, self._kind, sample)):
            raise line.error(problem, 0)
        if self._strict and (problem := self._grouping.problem(family, self._kind, sample)):
            raise line.error(problem, 0)
        if not self._grouping.is_repeated(sample):
            self._samples.append(sample)

    def _tell(self, line: Line, comment: Comment) -> Iterator[MetricFamily]:
        keyword, name, text = comment
        if name != self._name:
            yield from self.end()
            self._begin(name, line.number)
        elif self._samples and self._strict:
            raise line.error(f"there is a {keyword} line after samples", 0)
        if keyword in self._told and self._strict:
            raise line.error(f"there is a second {keyword} line", 0)
        if keyword == "TYPE":
            self._set_type(line, text)
        self._told[keyword] = text

    def _set_type(self, line: Line, kind: str) -> None:
        if kind not in METRIC_TYPES:
            expected = f"one of {', '.join(METRIC_TYPES)}"
            raise line.error(f"unknown metric type {kind!r}", line.text.rindex(kind), expected)
        self._kind = kind
        self._allowed = frozenset(f"{self._name}{end}" for end in ENDINGS.get(kind, ("",)))

    def end(self) -> Iterator[MetricFamily]:
        """Yield the family, if there is one. Raises ParseError for what it lacks."""
        if self._name is None:
            return
        unit = self._told.get("UNIT", "")
        if self._strict:
            self._check(self._name, unit)
        family = MetricFamily("a", self._told.get("HELP", ""), self._kind)
        family.name, family.unit, family.samples = self._name, unit, self._samples
        self._begin(None, 0)
        yield family

    def _check(self, name: str, unit: str) -> None:
        problem = family_problem(name, self._kind, unit, self._samples)
        names = {name, *(name + ending for ending in ENDINGS.get(self._kind, ()))}
        if not self._seen.isdisjoint(names):
            problem = f"the name is another family's: {min(self._seen & names)}"
        if problem:
            raise ParseError(f"{name}: {problem}", self._started, 1)
        self._seen |= names


def read_comment(line: Line) -> Comment:
    """Read a line that begins with `#` and is not the last one. Raises ParseError."""
    found = line.text.split(" ", 2)
    if len(found) < 3 or found[0] != "#" or found[1] not in KEYWORDS:
        raise line.error("this is no comment", expected="# HELP, # TYPE, # UNIT or # EOF")
    line.at = len(found[0]) + len(found[1]) + 2
    name = read_metric_name(line)
    if not name or line.next() != " ":
        raise line.error("invalid metric name in comment", expected="a name and one blank")
    start = line.at + 1
    text = line.text[start:].removesuffix("\n").lstrip(" ")
    if found[1] == "HELP":
        text = unescape(line, text, start, False, UNESCAPED)
    return Comment(found[1], name, text)


class _Grouping:
    """The samples of one label set stand together, and their times do not go back."""

    def __init__(self) -> None:
        self._group: Group | None = None
        self._seen: set[Group] = set()
        self._time: Any = None
        self._series: set[tuple[str, Group]] = set()

    def problem(self, family: str, kind: str, sample: Sample) -> str | None:
        """Take down a sample's group; return what is wrong with its place."""
        group = group_of(family, kind, sample)
        if group != self._group:
            is_new = group not in self._seen
            self._group, self._series = group, set()
            self._seen.add(group)
            return None if is_new else "the samples of a label set do not stand together"
        if (sample.timestamp is None) != (self._time is None):
            return "some samples of a label set have a time, and some have none"
        if kind != "info" and self._time is not None and _is_later(self._time, sample.timestamp):
            return "the times of a label set go back"
        return None

    def is_repeated(self, sample: Sample) -> bool:
        """Tell whether the series is there at this time: its times may have been cut off."""
        series = (sample.name, frozenset(sample.labels.items()))
        is_repeated = sample.timestamp == self._time and series in self._series
        self._series.add(series)
        self._time = sample.timestamp
        return is_repeated


def _is_later(before: Any, now: Any) -> bool:
    if type(before) is type(now):
        return bool(before > now)
    return float(before) > float(now)
