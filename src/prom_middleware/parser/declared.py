"""Which names a page has used, and for what: nothing may be told of a family twice.

The rules, and their words, are those of Prometheus' parser of the text format (common/expfmt).
"""

from __future__ import annotations

from typing import NamedTuple

from prom_middleware.errors import ParseError
from prom_middleware.parser.line import Line, go_quoted

# Endings of samples that belong to a family of a type.
ENDINGS = {
    "summary": ("_count", "_sum"),
    "histogram": ("_count", "_sum", "_bucket"),
}
# Labels whose values have to be numbers, by the family's type.
BOUNDS = {"summary": "quantile", "histogram": "le"}
TYPES = ("counter", "gauge", "histogram", "summary", "untyped", "gauge_histogram")
# Of so many samples of which nothing is told, names are kept as they come: most pages tell nothing
# after that, and a place for each among the types takes a third of the time of its line.
_UNTOLD = 200_000


class Comment(NamedTuple):
    """A HELP or TYPE line: what it tells of the family `name`."""

    keyword: str
    name: str
    text: str


class Declared:
    """Families by their names as they are written: their types, and which have a HELP line."""

    def __init__(self) -> None:
        self.types: dict[str, str] = {}
        self.helps: dict[str, str] = {}
        self._parts: dict[str, str] = {}  # the families of samples that have names of their own
        self._untold: list[str] = []  # names that are to be among the types, as untyped ones

    def family_of(self, name: str) -> str:
        """Return the name of the family that a sample or a comment with `name` is about.

        It is known from now on.
        """
        if self._untold:
            self._settle()
        if name not in self.types:
            if name in self._parts:
                return self._parts[name]
            self.types[name] = ""
        return name

    def bound_of(self, name: str) -> str | None:
        """Return the label of a sample that has to be a number, if its family has one."""
        return BOUNDS.get(self.types[self.family_of(name)])

    def help(self, name: str, text: str) -> str | None:
        """Take down a HELP line; return what is wrong with it."""
        family = self.family_of(name)
        if family in self.helps:
            return f"second HELP line for metric name {go_quoted(family)}" if text else None
        if text:
            self.helps[family] = text
        return None

    def type(self, name: str, kind: str) -> str | None:
        """Take down a TYPE line; return what is wrong with it."""
        family = self.family_of(name)
        if not kind:
            return None
        if self.types[family]:
            shown = go_quoted(family)
            return f"second TYPE line for metric name {shown}, or TYPE reported after samples"
        known = kind.lower()
        if known not in TYPES:
            return f"unknown metric type {go_quoted(kind)}"
        self.types[family] = known
        for ending in ENDINGS.get(known, ()):
            self._parts[family + ending] = family
        return None

    def all(self, name: str, text: str, kind: str) -> bool:
        """Take down all that is told of a family; return False where its name is known already."""
        if self._untold:
            self._settle()
        if name in self.types or name in self._parts:
            return False
        self.types[name] = kind
        if text:
            self.helps[name] = text
        for ending in ENDINGS.get(kind, ()):
            self._parts[name + ending] = name
        return True

    def alone(self, name: str) -> bool:
        """Take down a sample that is of no other name's family; return False if it may be."""
        if name in self.types or name in self._parts:
            return self.types.get(name) == "untyped"
        self._untold.append(name)
        if len(self._untold) == _UNTOLD:
            self._settle()
        return True

    def _settle(self) -> None:
        self.types.update(dict.fromkeys(self._untold, "untyped"))
        self._untold.clear()

    def sample(self, name: str) -> str:
        """Take down that there is a sample, and return its family's name."""
        family = self.family_of(name)
        if not self.types[family]:
            self.types[family] = "untyped"
        return family


def refused(problem: str, line: Line, text: str) -> ParseError:
    """Return the error for a HELP or TYPE line, and what was expected in the place of `text`."""
    if problem.startswith("unknown"):
        return line.error(problem, line.text.rindex(text), f"one of {', '.join(TYPES)}")
    return line.error(problem, 0)
