"""Which names a page has used, and for what: nothing may be told of a family twice.

The rules, and their words, are those of Prometheus' parser of the text format (common/expfmt).
"""

from __future__ import annotations

from prom_middleware.parser.line import Line, go_quoted

# Endings of samples that belong to a family of a type, by the order in which Go tries them.
ENDINGS = {
    "summary": ("_count", "_sum"),
    "histogram": ("_count", "_sum", "_bucket"),
}
# Labels whose values have to be numbers, by the family's type.
BOUNDS = {"summary": "quantile", "histogram": "le"}
TYPES = ("counter", "gauge", "histogram", "summary", "untyped", "gauge_histogram")


class Declared:
    """Families by their names as they are written: their types, and which have a HELP line."""

    def __init__(self) -> None:
        self.types: dict[str, str] = {}
        self.helps: dict[str, str] = {}

    def family_of(self, name: str) -> str:
        """Return the name of the family that a sample or a comment with `name` is about.

        It is known from now on.
        """
        if name not in self.types:
            for kind, endings in ENDINGS.items():
                for ending in endings:
                    if name.endswith(ending) and self.types.get(name[: -len(ending)]) == kind:
                        return name[: -len(ending)]
            self.types[name] = ""
        return name

    def bound_of(self, name: str) -> str | None:
        """Return the label of a sample that has to be a number, if its family has one."""
        return BOUNDS.get(self.types[self.family_of(name)])

    def help(self, line: Line, name: str, text: str) -> None:
        """Take down a HELP line. Raises ParseError for a second one."""
        family = self.family_of(name)
        if not text:
            return
        if family in self.helps:
            raise line.error(f"second HELP line for metric name {go_quoted(family)}", 0)
        self.helps[family] = text

    def type(self, line: Line, name: str, kind: str) -> None:
        """Take down a TYPE line. Raises ParseError for a second one, or one after samples."""
        family = self.family_of(name)
        if not kind:
            return
        if self.types[family]:
            shown = go_quoted(family)
            reason = f"second TYPE line for metric name {shown}, or TYPE reported after samples"
            raise line.error(reason, 0)
        known = kind.lower()
        if known not in TYPES:
            at = line.text.rindex(kind)
            expected = f"one of {', '.join(TYPES)}"
            raise line.error(f"unknown metric type {go_quoted(kind)}", at, expected)
        self.types[family] = known

    def sample(self, name: str) -> str:
        """Take down that there is a sample, and return its family's name."""
        family = self.family_of(name)
        if not self.types[family]:
            self.types[family] = "untyped"
        return family
