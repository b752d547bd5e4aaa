"""A page as Prometheus' own parser of the text format groups it: families by their names.

`prom_middleware.parser` gives what `prometheus_client` would; here it matters which line says what,
and what Go's parser refuses beyond that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import isnan
from typing import NamedTuple

from prometheus_client.samples import Sample

from prom_middleware.parser.declared import BOUNDS, Comment, Declared, refused
from prom_middleware.parser.line import Line, go_quoted
from prom_middleware.parser.numbers import is_number
from prom_middleware.parser.quick import text_sample
from prom_middleware.parser.samples import Reading, read_comment, read_sample

# What `surrogateescape` makes of bytes that are not UTF-8.
_NO_UTF_8 = re.compile("[\udc80-\udcff]")


class Row(NamedTuple):
    """A sample, and the number of its line."""

    sample: Sample
    line: int

    @property
    def is_bucket(self) -> bool:
        """Tell whether it is a histogram's bucket, by its name and its bound."""
        return self.sample.name.endswith("_bucket") and "le" in self.sample.labels


Labels = tuple[tuple[str, str], ...]
LabelSet = frozenset[tuple[str, str]]


@dataclass
class Family:
    """What a page has under one name; `pieces` are the lines where it begins, again and again."""

    name: str
    type: str = "untyped"
    help: str = ""
    rows: list[Row] = field(default_factory=list)
    pieces: list[int] = field(default_factory=list)

    @cached_property
    def series(self) -> dict[LabelSet, list[Row]]:
        """Return the rows of each label set, without a bucket's or a quantile's own label."""
        inner = BOUNDS.get(self.type)
        found: dict[LabelSet, list[Row]] = {}
        for row in self.rows:
            items = row.sample.labels.items()
            key = frozenset(item for item in items if item[0] != inner)
            found.setdefault(key, []).append(row)
        return found


def read_page(lines: Iterable[str], utf8_names: bool = False) -> list[Family]:
    """Return the families that have samples, by their names. Raises ParseError."""
    page = _Page(utf8_names)
    quick = text_sample()
    for number, text in enumerate(lines, 1):
        line = Line(text, number)
        sample = quick(text)
        if sample is not None and page.has_numbers(sample):
            page.add(sample, line)
        else:
            page.read(line)
    return sorted(page.families(), key=lambda family: family.name)


class _Page:
    def __init__(self, utf8_names: bool) -> None:
        self._declared = Declared()
        self._how = Reading(utf8_names=utf8_names, declared=self._declared)
        self._families: dict[str, Family] = {}
        self._last = ""

    def families(self) -> Iterator[Family]:
        for family in self._families.values():
            family.type = self._declared.types[family.name]
            family.help = self._declared.helps.get(family.name, "")
            yield family

    def has_numbers(self, sample: Sample) -> bool:
        """Tell whether the label that has to be a number is one, if there is any."""
        bound = self._declared.bound_of(sample.name)
        return bound is None or is_number(sample.labels.get(bound, "0"))

    def read(self, line: Line) -> None:
        start = line.text.lstrip(" \t")
        if not start or start == "\n":
            return
        if start[0] != "#":
            self.add(read_sample(line, self._how), line)
            return
        comment = read_comment(line, self._how)
        if comment is None:
            line.check_end()
        else:
            self._tell(comment, line)

    def _tell(self, comment: Comment, line: Line) -> None:
        keyword, name, text = comment
        if keyword == "HELP":
            problem = self._declared.help(name, text)
        else:
            # The format allows for blanks at the end, but not Go's parser.
            text += _blanks_at_end(line) if text else ""
            problem = self._declared.type(name, text)
        if problem:
            raise refused(problem, line, text)

    def add(self, sample: Sample, line: Line) -> None:
        name = self._declared.sample(sample.name)
        family = self._families.get(name)
        if family is None:
            family = self._families[name] = Family(name)
        _check_utf8(sample, line)
        _check_end(sample, line)
        _check_counts(sample, self._declared.types[name], name, line)
        if name != self._last:
            family.pieces.append(line.number)
            self._last = name
        family.rows.append(Row(sample, line.number))


def _check_utf8(sample: Sample, line: Line) -> None:
    if line.text.isascii():
        return
    for value in sample.labels.values():
        if found := _NO_UTF_8.search(value):
            reason = f"invalid label value {go_quoted(value)}"
            raise line.error(reason, line.text.find(found[0]), "text in UTF-8")


def _blanks_at_end(line: Line) -> str:
    return line.text[len(line.text.rstrip(" \t\n")) : -1]


def _check_end(sample: Sample, line: Line) -> None:
    """Refuse blanks at the end of a line, which the format allows, but not Go's parser."""
    end = _blanks_at_end(line)
    if end:
        at = len(line.text) - 1 - len(end)
        if sample.timestamp is None:
            raise line.error('expected integer as timestamp, got ""', at, "a line feed")
        raise line.error(f"spurious string after timestamp: {go_quoted(end)}", at, "a line feed")


def _check_counts(sample: Sample, kind: str, family: str, line: Line) -> None:
    """Refuse histograms that count less than nothing."""
    if kind != "histogram" or sample.value >= 0 or isnan(sample.value):
        return
    ending = sample.name.removeprefix(family)
    if ending == "_count":
        raise line.error(f"negative count for histogram {go_quoted(family)}", 0)
    if ending != "_sum" and not isnan(float(sample.labels.get("le", "NaN"))):
        raise line.error(f"negative bucket population for histogram {go_quoted(family)}", 0)
