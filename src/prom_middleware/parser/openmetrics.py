"""OpenMetrics, version 1.0.0: no blank line, no spare blank, and an end that is marked.

https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import Metric as MetricFamily
from prometheus_client.metrics_core import METRIC_TYPES
from prometheus_client.samples import Exemplar, Sample

from prom_middleware.errors import ParseError
from prom_middleware.exposition.formats.openmetrics import LIMIT
from prom_middleware.parser.blocks import Block, blocks_of_lines, blocks_of_text
from prom_middleware.parser.declared import Comment
from prom_middleware.parser.exemplars import read_openmetrics_sample
from prom_middleware.parser.families import family, new_exemplar, sample
from prom_middleware.parser.line import END_OF_INPUT, UNESCAPED, Line, unescape
from prom_middleware.parser.numbers import Numbers, timestamp
from prom_middleware.parser.quick import OpenmetricsRow, Pairs, exemplar_parts, openmetrics_rows
from prom_middleware.parser.rules import Grouping, Place, Repeats, family_problem, places_of
from prom_middleware.parser.samples import read_metric_name

END = "# EOF"
KEYWORDS = ("HELP", "TYPE", "UNIT")


def openmetrics_string_to_metric_families(
    text: str, *, strict: bool = True
) -> Iterator[MetricFamily]:
    """Yield the families of a page in OpenMetrics, as `openmetrics_fd_to_metric_families` does."""
    return _Page(strict).families(blocks_of_text(text))


def openmetrics_fd_to_metric_families(
    fd: Iterable[str], *, strict: bool = True
) -> Iterator[MetricFamily]:
    """Yield the families of the lines of `fd`, which end with a line feed, as they are read.

    At most as many lines are read ahead as were read before, and never more than 500. Times are
    `Timestamp` where they have no exponent, else seconds. Not strict, lines that cannot be read are
    left out, and nobody looks whether samples make sense. Raises ParseError.
    """
    return _Page(strict).families(blocks_of_lines(fd))


class _Page:
    """The family that is being read, those that have `ended`, and the names that were seen."""

    def __init__(self, strict: bool) -> None:
        self._is_over = False
        self._number = 0  # of the last line
        self._strict = strict
        self._seen: set[str] = set()
        self._ended: list[MetricFamily] = []
        self._numbers, self._pairs = Numbers(), Pairs("__")
        # Of those in exemplars, hardly any is there twice.
        self._traces = Pairs("__", kept=0)
        self._name: str | None = None
        self._grouping = Grouping() if strict else Repeats()
        self._places: dict[str, Place] = {}
        self._kind = "unknown"

    def _begin(self, name: str, number: int, kind: str, told: dict[str, str]) -> None:
        self._name, self._started, self._kind, self._told = name, number, kind, told
        self._samples: list[Sample] = []
        self._grouping.begin()
        self._places = places_of(name, kind)

    def families(self, blocks: Iterable[Block]) -> Iterator[MetricFamily]:
        """Yield all families. Raises ParseError."""
        for block in blocks:
            yield from self._read(block)
        self._end()
        yield from self._ended
        if self._strict and not self._is_over:
            raise ParseError(END_OF_INPUT, self._number + 1, 1, END)

    def _read(self, block: Block) -> Iterator[MetricFamily]:
        """Yield the families that end in a block.

        This is where the time goes: most lines are samples that need no look at their text.
        """
        numbers, labels_of = self._numbers, self._pairs.labels
        number = block.number
        for row in openmetrics_rows(block.text):
            name, inner, value, whole, part, seen = row[:6]
            found, lines = None, 1
            if name:
                try:
                    labels = labels_of(inner) if inner else {}
                    time = timestamp(whole, part) if whole else None
                    if name[0] == "{":
                        name = name[2:-1]
                    exemplar = self._exemplar(seen) if seen else None
                    measured = int(value) if value.isdigit() else numbers[value]
                    found = sample(Sample, (name, labels, measured, time, exemplar, None))
                except ValueError:
                    pass  # it is read with care
            try:
                if found is not None and not self._is_over:
                    self._add(found, block, number)
                elif row[6]:
                    lines = self._tell_all(block, number, row)
                else:
                    self._read_lines(block, number, 1)
            except ParseError:
                yield from self._ended
                raise
            number += lines
            if self._ended:
                yield from self._taken()
        self._number = number - 1

    def _taken(self) -> list[MetricFamily]:
        """Return the families that have ended, and keep them no longer."""
        taken, self._ended = self._ended, []
        return taken

    def _tell_all(self, block: Block, number: int, row: OpenmetricsRow) -> int:
        """Take what is told in lines that follow each other, and return how many they are."""
        keyword, name, text, second, second_text, third, third_text = row[6:]
        told = {keyword: text}
        if second:
            told[second] = second_text
        if third:
            told[third] = third_text
        lines = len(told)
        if not self._strict:
            told = {keyword: text.rstrip() for keyword, text in told.items()}
        kind, text = told.get("TYPE", "unknown"), told.get("HELP", "")
        if name[0] == '"':
            name = name[1:-1]
        is_plain = self._strict or all(told.values())
        if self._is_over or name == self._name or kind not in METRIC_TYPES or not is_plain:
            self._read_lines(block, number, lines)
            return lines
        if "\\" in text:
            told["HELP"] = unescape(Line(text, number), text, 0, False, UNESCAPED)
        self._end()
        self._begin(name, number, kind, told)
        return lines

    def _read_lines(self, block: Block, first: int, lines: int) -> None:
        """Read lines with care. Raises ParseError."""
        for number in range(first, first + lines):
            try:
                self._read_carefully(Line(block.line(number), number, has_blanks=False))
            except ParseError:
                if self._strict:
                    raise

    def _exemplar(self, text: str) -> Exemplar:
        """Return an exemplar. Raises ValueError for one to be read with care."""
        found = exemplar_parts(text)
        if found is None:
            raise ValueError(f"{text} is no exemplar")
        inner, value, whole, part = found.groups("")
        labels = self._traces.labels(inner) if inner else {}
        if len(inner) > LIMIT and sum(map(len, (*labels, *labels.values()))) > LIMIT:
            raise ValueError("it is too long")
        time = timestamp(whole, part) if whole else None
        return new_exemplar(Exemplar, (labels, self._numbers[value], time))

    def _read_carefully(self, line: Line) -> None:
        """Read a line with care. Raises ParseError."""
        if self._is_over:
            raise line.error("there is something after # EOF", expected="nothing")
        if not self._strict:
            line.text = line.text.strip() + "\n"
        text = line.text.removesuffix("\n")
        if text == END:
            self._is_over = True
        elif not text:
            raise line.error("there is a blank line", expected="a sample, a comment or # EOF")
        elif text[0] == "#":
            self._tell(line, read_comment(line))
        else:
            found = read_openmetrics_sample(line, self._kind == "histogram")
            if getattr(found, "native_histogram", None) is None:
                self._add(found, Block(line.text, line.number), line.number)
            elif found.name == self._name:
                self._samples.append(found)
            else:
                raise line.error("a native histogram has the name of its family", 0)

    def _add(self, found: Sample, block: Block, number: int) -> None:
        """Add a sample to this family, or to a new one. Raises ParseError."""
        name = found[0]
        place = self._places.get(name)
        if place is None:
            self._end()
            self._begin(name, number, "unknown", {})
            place = self._places[name]
        try:
            if self._strict and (found.exemplar or place.checks):
                place.check(self._name or "", found)
            if self._grouping.takes(place, found):
                self._samples.append(found)
        except ValueError as problem:
            raise Line(block.line(number), number).error(str(problem), 0) from None

    def _tell(self, line: Line, comment: Comment) -> None:
        keyword, name, text = comment
        if name != self._name:
            self._end()
            self._begin(name, line.number, "unknown", {})
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
        self._kind, self._places = kind, places_of(self._name or "", kind)

    def _end(self) -> None:
        """End the family, if there is one. Raises ParseError for what it lacks."""
        name = self._name
        if name is None:
            return
        unit = self._told.get("UNIT", "")
        if self._strict:
            self._check(name, unit)
        text = self._told.get("HELP", "")
        self._ended.append(family(name, text, self._kind, self._samples, unit))
        self._name, self._places = None, {}

    def _check(self, name: str, unit: str) -> None:
        problem, seen, names = None, self._seen, self._places.keys()
        if unit or "histogram" in self._kind:
            problem = family_problem(name, self._kind, unit, self._samples)
        if name in seen or not seen.isdisjoint(names):
            problem = f"the name is another family's: {min(seen & {name, *names})}"
        if problem:
            raise ParseError(f"{name}: {problem}", self._started, 1)
        seen.add(name)
        seen.update(names)


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
