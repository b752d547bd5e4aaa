"""The text format, versions 0.0.4 and 1.0.0, which differ in the names that they may have.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import Metric as MetricFamily
from prometheus_client.samples import Sample

from prom_middleware.errors import ParseError
from prom_middleware.parser import declared
from prom_middleware.parser.blocks import Block, blocks_of_lines, blocks_of_text
from prom_middleware.parser.declared import BOUNDS, Declared, refused
from prom_middleware.parser.families import family, sample
from prom_middleware.parser.line import UNESCAPED_HELP, Line, unescape
from prom_middleware.parser.numbers import Numbers, is_number
from prom_middleware.parser.quick import Bounds, Pairs, text_rows
from prom_middleware.parser.samples import Reading, read_comment, read_sample

# The endings of samples' names that belong to a family, by its type.
ENDINGS = {**declared.ENDINGS, "summary": (*declared.ENDINGS["summary"], "")}


def text_string_to_metric_families(
    text: str, *, strict: bool = True, utf8_names: bool = True
) -> Iterator[MetricFamily]:
    """Yield the families of a page in the text format, as `text_fd_to_metric_families` does."""
    return _Page(Reading(strict, utf8_names)).families(blocks_of_text(text))


def text_fd_to_metric_families(
    fd: Iterable[str], *, strict: bool = True, utf8_names: bool = True
) -> Iterator[MetricFamily]:
    """Yield the families of the lines of `fd`, which end with a line feed, as they are read.

    At most as many lines are read ahead as were read before, and never more than 500. Times are in
    seconds. Strict, it takes what Prometheus' own parser of this format takes, and blanks at the
    end of lines; else lines that cannot be read are left out. `utf8_names` are those between
    quotes. Raises ParseError.
    """
    return _Page(Reading(strict, utf8_names)).families(blocks_of_lines(fd))


class _Page:
    """The family that is being read, and those that have `ended`.

    As in `prometheus_client`, a sample that does not belong to it ends it, and is a family of its
    own.
    """

    def __init__(self, how: Reading) -> None:
        self._ended: list[MetricFamily] = []
        self._declared = Declared()
        self._strict = how.strict
        self._how = how._replace(declared=self._declared if how.strict else None)
        # Whether a sample is a family of its own, where there is no other.
        self._is_alone = self._declared.alone if how.strict else bool
        self._numbers, self._bounds = Numbers(), Bounds()
        self._pairs = Pairs("__name__", quoted=how.utf8_names, blanks=True)
        self._name = self._help = self._type = ""
        self._begin("")

    def _begin(self, name: str, text: str = "", kind: str = "") -> None:
        """End the family, if there is one, and begin another."""
        if self._name:
            self._ended.append(_family(self._name, self._help, self._type, self._samples))
        self._name, self._help = name, text
        self._samples: list[Sample] = []
        self._set_type(kind)

    def _set_type(self, kind: str) -> None:
        name = self._name
        self._type, self._bound = kind or "untyped", BOUNDS.get(kind)
        self._allowed: tuple[str, ...] = (name,)
        if kind in ENDINGS:
            self._allowed = tuple([name + ending for ending in ENDINGS[kind]])
        # Those of which a sample needs no more than to be added.
        self._known = self._allowed if kind else ()

    def families(self, blocks: Iterable[Block]) -> Iterator[MetricFamily]:
        """Yield all families. Raises ParseError."""
        for block in blocks:
            yield from self._read(block)
        self._begin("")
        yield from self._ended

    def _read(self, block: Block) -> Iterator[MetricFamily]:
        """Yield the families that end in a block.

        This is where the time goes: most lines are samples that are only added to the family that
        is being read.
        """
        numbers, bounds, labels_of = self._numbers, self._bounds, self._pairs.labels
        add, known, bound = self._samples.append, self._known, self._bound
        number = block.number - 1
        for row in text_rows(block.text):
            number += 1
            name, inner, value, time, about, text, kind, typed, its_kind, its_text, other = row
            if name:
                try:
                    labels = labels_of(inner) if inner else {}
                    if name[0] == "{":
                        name = self._unquoted(name[1:])
                    measured = int(value) if value.isdigit() else numbers[value]
                    when = int(time) / 1000 if time else None
                    found = sample(Sample, (name, labels, measured, when, None, None))
                except ValueError:  # which tells no more than that there is something wrong
                    self._read_line(block, number)
                else:
                    if name in known and (bound not in labels or bounds[labels[bound]]):
                        add(found)
                        continue
                    if not self._name and self._is_alone(name):
                        yield family(name, "", "untyped", [found])
                        continue
                    self._add(found, block, number)
            elif about or typed:
                lines = 2 if kind or its_text else 1
                if not self._tell_all(about or typed, text or its_text, kind or its_kind):
                    yield from self._read_lines(block, number, lines)
                number += lines - 1
            elif other:
                self._read_line(block, number)
            add, known, bound = self._samples.append, self._known, self._bound
            if self._ended:
                yield from self._taken()

    def _taken(self) -> list[MetricFamily]:
        """Return the families that have ended, and keep them no longer."""
        taken, self._ended = self._ended, []
        return taken

    def _unquoted(self, name: str) -> str:
        """Return a name that may be between quotes. Raises ValueError where it may not."""
        if name[0] != '"':
            return name
        if not self._how.utf8_names:
            raise ValueError(f"{name} is no name")
        return name[1:-1]

    def _tell_all(self, name: str, text: str, kind: str) -> bool:
        """Begin a family; return False, and do nothing, where that may be wrong."""
        text = text.rstrip()
        try:
            if name[0] == '"':
                name = self._unquoted(name)
            if "\\" in text:
                text = unescape(Line(text, 0), text, 0, self._strict, UNESCAPED_HELP)
        except ValueError:
            return False
        if self._strict:
            if not self._declared.all(name, text, kind):
                return False
        elif name == self._name:
            return False
        self._begin(name, text, kind)
        return True

    def _read_lines(self, block: Block, first: int, lines: int) -> Iterator[MetricFamily]:
        """Read lines with care, and yield the families that end there. Raises ParseError."""
        for number in range(first, first + lines):
            self._read_line(block, number)
            yield from self._taken()

    def _read_line(self, block: Block, number: int) -> None:
        """Read a line with care. Raises ParseError."""
        try:
            self._read_carefully(Line(block.line(number), number))
        except ParseError:
            if self._strict:
                raise

    def _add(self, found: Sample, block: Block, number: int) -> None:
        """Add a sample to this family, or as one of its own. Raises ParseError."""
        name = found[0]
        if self._strict:
            bound = BOUNDS.get(self._declared.types[self._declared.sample(name)])
            if bound in found.labels and not is_number(found.labels[bound]):
                read_sample(Line(block.line(number), number), self._how)  # which says what is wrong
        if name in self._allowed:
            self._known = self._allowed
            self._samples.append(found)
            return
        if self._name:
            self._begin("")
        self._ended.append(family(name, "", "untyped", [found]))

    def _tell(self, comment: tuple[str, str, str], text: str, number: int) -> None:
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
            self._begin(name)
        if is_help:
            self._help = told
        else:
            self._set_type(told.lower())

    def _read_carefully(self, line: Line) -> None:
        """Read a line with care. Raises ParseError."""
        if not self._strict:
            line.text = line.text.rstrip() + "\n"
        start = line.text.lstrip(" \t")
        if not start or start == "\n":
            return
        if start[0] != "#":
            self._add(read_sample(line, self._how), Block(line.text, line.number), line.number)
        # A comment that is not set off is one even where it says HELP.
        elif start[1:2] not in (" ", "\t") or (comment := read_comment(line, self._how)) is None:
            line.check_end()
        else:
            self._tell(comment, line.text, line.number)


def _family(name: str, text: str, kind: str, samples: list[Sample]) -> MetricFamily:
    if kind == "counter":
        if name.endswith("_total"):
            name = name[:-6]
        else:
            total = f"{name}_total"
            samples = [sample(Sample, (total, *one[1:])) for one in samples]
    return family(name, text, kind, samples)
