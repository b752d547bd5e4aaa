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
from prom_middleware.parser.declared import Declared
from prom_middleware.parser.line import Line, go_quoted
from prom_middleware.parser.numbers import number
from prom_middleware.parser.quick import text_comment, text_sample
from prom_middleware.parser.samples import Comment, Reading, read_comment, read_sample

# The endings of samples' names that belong to a family, by its type.
ENDINGS = {"summary": ("_count", "_sum", ""), "histogram": ("_count", "_sum", "_bucket")}
# Labels whose values have to be numbers, by the family's type.
BOUNDS = {"summary": "quantile", "histogram": "le"}


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
    for number_, text in enumerate(fd, 1):
        try:
            if (sample := quick(text)) is not None:
                if sample.name in page.allowed:
                    page.add(sample, text, number_)
                else:
                    yield from page.apart(sample)
            elif (comment := text_comment(text)) is not None:
                yield from page.tell(comment, text, number_)
            else:
                yield from page.read(Line(text, number_))
        except ParseError:
            if strict:
                raise
    yield from page.end()


class _Page:
    """The family that is being read.

    As in `prometheus_client`, a sample that does not belong to it ends it, and is a family of its
    own.
    """

    def __init__(self, how: Reading) -> None:
        self._how = how
        self._declared = Declared()
        self._begin("")

    def _begin(self, name: str) -> None:
        self._name, self._help, self._type = name, "", "untyped"
        self._samples: list[Sample] = []
        self._bound: str | None = None
        self.allowed = frozenset([name] if name else ())

    def add(self, sample: Sample, text: str, number_: int) -> None:
        """Add a sample of this family."""
        if self._type == "untyped" and self._how.strict:
            self._declared.sample(sample.name)
        if self._bound in sample.labels:
            _check_bound(sample, self._bound, Line(text, number_))
        self._samples.append(sample)

    def apart(self, sample: Sample) -> Iterator[MetricFamily]:
        """Yield the family, which has ended, and the one that a sample is of its own."""
        if self._how.strict:
            self._declared.sample(sample.name)
        yield from self.end()
        self._begin("")
        yield _family(sample.name, "", "untyped", [sample])

    def tell(self, comment: Comment, text: str, number_: int) -> Iterator[MetricFamily]:
        """Take what is told of this family; yield it, if it is of another one."""
        keyword, name, told = comment
        if keyword == "TYPE" and not told:
            return
        if self._how.strict:
            declare = self._declared.help if keyword == "HELP" else self._declared.type
            declare(Line(text, number_), name, told)
        if name != self._name:
            yield from self.end()
            self._begin(name)
        if keyword == "HELP":
            self._help = told
        else:
            self._set_type(told.lower())

    def _set_type(self, kind: str) -> None:
        self._type, self._bound = kind, BOUNDS.get(kind)
        self.allowed = frozenset(self._name + ending for ending in ENDINGS.get(kind, ("",)))

    def read(self, line: Line) -> Iterator[MetricFamily]:
        """Read a line with care."""
        if not self._how.strict:
            line.text = line.text.rstrip() + "\n"
        start = line.text.lstrip(" \t")
        if not start or start == "\n":
            return
        if start[0] != "#":
            yield from self._read_sample(line)
        # A comment that is not set off is one even where it says HELP.
        elif start[1:2] not in (" ", "\t") or (comment := read_comment(line, self._how)) is None:
            line.check_end()
        else:
            yield from self.tell(comment, line.text, line.number)

    def _read_sample(self, line: Line) -> Iterator[MetricFamily]:
        sample = read_sample(line, self._how)
        if sample.name in self.allowed:
            self.add(sample, line.text, line.number)
        else:
            yield from self.apart(sample)

    def end(self) -> Iterator[MetricFamily]:
        """Yield the family, if there is one."""
        if self._name:
            yield _family(self._name, self._help, self._type, self._samples)


def _check_bound(sample: Sample, label: str, line: Line) -> None:
    value = sample.labels[label]
    try:
        number(value)
    except ValueError:
        reason = f"expected float as value for '{label}' label, got {go_quoted(value)}"
        at = line.text.find(f'{label}="') + len(label) + 1
        raise line.error(reason, at, "a number between quotes") from None


def _family(name: str, documentation: str, kind: str, samples: list[Sample]) -> MetricFamily:
    if kind == "counter":
        if name.endswith("_total"):
            name = name.removesuffix("_total")
        else:
            samples = [one._replace(name=f"{one.name}_total") for one in samples]
    family = MetricFamily("a", documentation, kind if kind in METRIC_TYPES else "untyped")
    family.name = name  # prometheus_client 0.20 refuses those in UTF-8
    family.samples = samples
    return family
