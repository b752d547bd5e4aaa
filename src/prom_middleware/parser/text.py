"""The text format, versions 0.0.4 and 1.0.0, which differ in the names that they may have.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

from prometheus_client import Metric as MetricFamily
from prometheus_client.metrics_core import METRIC_TYPES
from prometheus_client.samples import Sample

from prom_middleware.errors import ParseError
from prom_middleware.parser.declared import BOUNDS, Declared, refused
from prom_middleware.parser.line import Line
from prom_middleware.parser.numbers import is_number
from prom_middleware.parser.quick import text_comment, text_sample
from prom_middleware.parser.samples import Reading, read_comment, read_sample

# The endings of samples' names that belong to a family, by its type.
ENDINGS = {"summary": ("_count", "_sum", ""), "histogram": ("_count", "_sum", "_bucket")}
# What the format calls otherwise than `prometheus_client` does.
TYPES = {"gauge_histogram": "gaugehistogram"}


def text_string_to_metric_families(
    text: str, *, strict: bool = True, utf8_names: bool = True
) -> Iterator[MetricFamily]:
    """Yield the families of a page in the text format, as `text_fd_to_metric_families` does."""
    return text_fd_to_metric_families(io.StringIO(text), strict=strict, utf8_names=utf8_names)


def text_fd_to_metric_families(
    fd: Iterable[str], *, strict: bool = True, utf8_names: bool = True
) -> Iterator[MetricFamily]:
    """Yield the families of the lines of `fd`, which end with a line feed, as they are read.

    Times are in seconds. Strict, it takes what Prometheus' own parser of this format takes, and
    blanks at the end of lines; else lines that cannot be read are left out. `utf8_names` are those
    between quotes. Raises ParseError.
    """
    page = _Page(Reading(strict, utf8_names))
    quick = text_sample()
    for number, text in enumerate(fd, 1):
        try:
            if text[:1] == "#" and (comment := text_comment(text)) is not None:
                page.tell(comment, text, number)
            elif (sample := quick(text)) is not None:
                page.add(sample, text, number)
            else:
                page.read(Line(text, number))
        except ParseError:
            if strict:
                raise
        if page.ended:
            yield from page.ended
            page.ended.clear()
    page.end()
    yield from page.ended


class _Page:
    """The family that is being read, and those that have `ended`.

    As in `prometheus_client`, a sample that does not belong to it ends it, and is a family of its
    own.
    """

    def __init__(self, how: Reading) -> None:
        self.ended: list[MetricFamily] = []
        self._declared = Declared()
        self._strict = how.strict
        self._how = how._replace(declared=self._declared if how.strict else None)
        self._begin("")

    def _begin(self, name: str) -> None:
        self._name, self._help, self._type = name, "", "untyped"
        self._samples: list[Sample] = []
        self._bound: str | None = None
        self._allowed: tuple[str, ...] = (name,) if name else ()

    def add(self, sample: Sample, text: str, number: int) -> None:
        """Add a sample to this family, or as one of its own. Raises ParseError."""
        if sample.name not in self._allowed:
            self._set_apart(sample)
            return
        if self._strict and self._type == "untyped":
            self._declared.sample(sample.name)
        if self._bound in sample.labels and not is_number(sample.labels[self._bound]):
            read_sample(Line(text, number), self._how)  # which says what is wrong
        self._samples.append(sample)

    def _set_apart(self, sample: Sample) -> None:
        if self._strict:
            self._declared.sample(sample.name)
        self.end()
        self.ended.append(_family(sample.name, "", "untyped", [sample]))

    def tell(self, comment: tuple[str, str, str], text: str, number: int) -> None:
        """Take what is told of this family, or of a new one. Raises ParseError."""
        keyword, name, told = comment
        is_help = keyword == "HELP"
        if not (is_help or told):
            return
        if self._strict:
            problem = (self._declared.help if is_help else self._declared.type)(name, told)
            if problem:
                raise refused(problem, Line(text, number), told)
        if name != self._name:
            self.end()
            self._begin(name)
        if is_help:
            self._help = told
        else:
            self._set_type(told.lower())

    def _set_type(self, kind: str) -> None:
        self._type, self._bound = TYPES.get(kind, kind), BOUNDS.get(kind)
        name, endings = self._name, ENDINGS.get(kind)
        self._allowed = tuple([name + ending for ending in endings]) if endings else (name,)

    def read(self, line: Line) -> None:
        """Read a line with care. Raises ParseError."""
        if not self._strict:
            line.text = line.text.rstrip() + "\n"
        start = line.text.lstrip(" \t")
        if not start or start == "\n":
            return
        if start[0] != "#":
            self.add(read_sample(line, self._how), line.text, line.number)
        # A comment that is not set off is one even where it says HELP.
        elif start[1:2] not in (" ", "\t") or (comment := read_comment(line, self._how)) is None:
            line.check_end()
        else:
            self.tell(comment, line.text, line.number)

    def end(self) -> None:
        """End the family, if there is one."""
        if self._name:
            self.ended.append(_family(self._name, self._help, self._type, self._samples))
            self._begin("")


def _family(name: str, documentation: str, kind: str, samples: list[Sample]) -> MetricFamily:
    if kind == "counter":
        if name.endswith("_total"):
            name = name.removesuffix("_total")
        else:
            samples = [one._replace(name=f"{one.name}_total") for one in samples]
    # Not constructed: the names were checked, and prometheus_client 0.20 refuses those in UTF-8.
    family = MetricFamily.__new__(MetricFamily)
    family.name, family.documentation, family.unit = name, documentation, ""
    family.type = kind if kind in METRIC_TYPES and kind != "untyped" else "unknown"
    family.samples = samples
    return family
