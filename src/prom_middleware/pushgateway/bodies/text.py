"""Pushed text: the format 0.0.4 as Go's reference parser reads it, with that parser's words.

https://pkg.go.dev/github.com/prometheus/common/expfmt#TextParser

Clients and their users know these errors, and a pushed group has to come out as it came in. So this
follows the reference line by line, where `prom_middleware.parser` is stricter or more lenient.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from prom_middleware.parser.line import go_quoted
from prom_middleware.pushgateway.bodies.drafts import ALL_ENDINGS, ENDINGS, INNER, Draft
from prom_middleware.pushgateway.bodies.errors import BodyError, WrongLineError
from prom_middleware.pushgateway.bodies.tokens import (
    LABEL_NAME,
    NAME,
    STRING,
    after_blank,
    label_value,
    unescaped,
)
from prom_middleware.pushgateway.families import UNTYPED, Family

# A label, or the name of a metric in quotes between the braces, and what stands after it.
_ITEM = re.compile(
    rf"[ \t]*(?:({LABEL_NAME.pattern})|{STRING})[ \t]*(?:=[ \t]*{STRING})?[ \t]*([,}}])"
)
# What most lines are; the others are read step by step.
_SAMPLE = re.compile(rf"({NAME.pattern})(?:\{{([^}}\\]*)\}})? ([^ \t{{][^ \t]*)")
# With what stands after it: one that is followed by anything else is not found.
_PAIR = re.compile(rf'({LABEL_NAME.pattern})="([^"]*)"(?:,|\Z)')
_END = re.compile(r"[ \t]*\}")
_COMMENT = re.compile(r"[ \t]*#[ \t]*(HELP|TYPE)[ \t]+(.*)", re.DOTALL)
_COMMENTS: dict[str, Callable[[Draft, str], None]] = {
    "HELP": Draft.set_help,
    "TYPE": Draft.set_type,
}
_STRINGS = re.compile(STRING)
_WRITTEN = re.compile(rf"{LABEL_NAME.pattern}|{STRING}")


def parse_text(body: bytes, *, utf8_names: bool = False) -> list[Family]:
    """Return the families in a body that have metrics; raise BodyError for the first wrong line.

    With `utf8_names`, names in quotes may have any characters.
    """
    # What is not UTF-8 becomes lone surrogates, which a label's value and a help are searched for.
    lines = body.decode("utf-8", "surrogateescape").split("\n")
    reader = _Reader(utf8_names)
    for number, line in enumerate(lines[:-1], 1):
        try:
            reader.read(line)
        except WrongLineError as error:
            raise _error(number, str(error)) from None
    if lines[-1].strip(" \t"):
        raise _error(len(lines), _unfinished(lines[-1]))
    return reader.families()


def _error(number: int, problem: str) -> BodyError:
    return BodyError(f"text format parsing error in line {number}: {problem}")


def _unfinished(line: str) -> str:
    first = line.lstrip(" \t")[0]
    begun = first in '#{"' or NAME.match(first)
    return "unexpected end of input stream" if begun else "invalid metric name"


class _Reader:
    """Reads lines one after the other."""

    def __init__(self, utf8_names: bool) -> None:
        self._utf8_names = utf8_names
        self._drafts: dict[str, Draft] = {}

    def families(self) -> list[Family]:
        """Return what was read; a family that has no metrics is none."""
        families = [draft.finished() for draft in self._drafts.values()]
        return [family for family in families if family.metrics]

    def read(self, line: str) -> None:
        """Read one line, without its end."""
        if self._quick(line):
            return
        place = after_blank(line, 0)
        if place == len(line):
            return
        if line[place] == "#":
            self._comment(line)
        elif line[place] == "{":
            self._named_inside(line, place + 1)
        else:
            self._sample(line, place)

    def _comment(self, line: str) -> None:
        found = _COMMENT.fullmatch(line)
        if found is None:
            return
        keyword, rest = found.groups()
        name, place = self._comment_name(rest)
        if place == len(rest):
            return
        if rest[place] not in " \t":
            raise WrongLineError("invalid metric name in comment")
        draft, _ = self._draft_of(name)
        content = rest[after_blank(rest, place) :]
        if content:
            _COMMENTS[keyword](draft, content)

    def _comment_name(self, rest: str) -> tuple[str, int]:
        found = _STRINGS.match(rest) if self._utf8_names else None
        if found:
            return unescaped(found[1]), found.end()
        plain = NAME.match(rest)
        return (plain.group(), plain.end()) if plain else ("", 0)

    def _quick(self, line: str) -> bool:
        """Read a sample as nearly all of them are; return False for any other line."""
        found = _SAMPLE.fullmatch(line)
        if found is None:
            return False
        name, inside, value = found.groups()
        labels: list[tuple[str, str]] = _PAIR.findall(inside) if inside else []
        length = sum([len(one) + len(other) + 4 for one, other in labels])
        if inside and (length != len(inside) + 1 or not inside.isascii()):
            return False  # there is more in it than was found
        names = dict(labels)
        if len(names) < len(labels) or "__name__" in names:
            return False
        draft, ending = self._typed_draft_of(name)
        draft.add(ending, labels, value)
        return True

    def _sample(self, line: str, place: int) -> None:
        found = NAME.match(line, place)
        if found is None:
            raise WrongLineError("invalid metric name")
        draft, ending = self._typed_draft_of(found.group())
        place = after_blank(line, found.end())
        labels: list[tuple[str, str]] = []
        if line.startswith("{", place):
            labels, place = self._labels(draft, line, place + 1)
        draft.add(ending, labels, line[place:])

    def _named_inside(self, line: str, place: int) -> None:
        """Read `{"a name","label"="value"} 1`."""
        found = _ITEM.match(line, place)
        if found is None or found[3] is not None:
            raise WrongLineError(_wrong_name(line, place))
        name = found[1] if found[2] is None else unescaped(found[2])
        if not self._utf8_names and not NAME.fullmatch(name):
            raise WrongLineError(f"invalid metric name {go_quoted(name)}")
        draft, ending = self._typed_draft_of(name)
        labels: list[tuple[str, str]] = []
        place = after_blank(line, found.end())
        if found[4] == ",":
            labels, place = self._labels(draft, line, place, named=True)
        draft.add(ending, labels, line[place:])

    def _labels(
        self, draft: Draft, line: str, place: int, *, named: bool = False
    ) -> tuple[list[tuple[str, str]], int]:
        """Return the labels from `place` on, and the place of the value.

        `named` tells that the metric's name stands between the braces as well.
        """
        labels: list[tuple[str, str]] = []
        names: set[str] = set()
        closed = _END.match(line, place)
        while closed is None:
            found = _ITEM.match(line, place)
            if found is None or found[3] is None:
                raise WrongLineError(_wrong_label(draft.name, line, place, names, named))
            name = self._label_name(found[1], found[2])
            if name in names:
                raise WrongLineError(_twice(draft.name))
            if name != INNER.get(draft.type or ""):
                names.add(name)
            labels.append((name, label_value(found[3])))
            place = found.end() - (found[4] == "}")
            closed = _END.match(line, place)
        return labels, after_blank(line, closed.end())

    def _label_name(self, plain: str | None, quoted: str | None) -> str:
        name = unescaped(quoted or "") if plain is None else plain
        if name == "__name__":
            raise WrongLineError('label name "__name__" is reserved')
        if plain is None and not self._utf8_names and not LABEL_NAME.fullmatch(name):
            raise WrongLineError(f"invalid label name {go_quoted(name)}")
        return name

    def _typed_draft_of(self, name: str) -> tuple[Draft, str]:
        draft, ending = self._draft_of(name)
        if draft.type is None:
            draft.type = UNTYPED
        return draft, ending

    def _draft_of(self, name: str) -> tuple[Draft, str]:
        """Return the family that a name belongs to, and the ending that says what of it."""
        found = self._drafts.get(name)
        if found is not None:
            return found, ""
        if name.endswith(ALL_ENDINGS):
            for type_, endings in ENDINGS.items():
                for ending in endings:
                    draft = self._drafts.get(name.removesuffix(ending))
                    if name.endswith(ending) and draft is not None and draft.type == type_:
                        return draft, ending
        found = self._drafts[name] = Draft(name)
        return found, ""


def _twice(metric: str) -> str:
    return f"duplicate label names for metric {go_quoted(metric)}"


def _wrong_name(line: str, place: int) -> str:
    """Say what is wrong where the metric's name was expected between the braces, at `place`."""
    place = after_blank(line, place)
    name = _WRITTEN.match(line, place)
    place = after_blank(line, name.end()) if name else place
    if name is None or line[place : place + 1] in ("=", ""):
        return "invalid metric name"
    return f"unexpected end of metric name {_rune(line, place)}"


def _wrong_label(metric: str, line: str, place: int, names: set[str], named: bool) -> str:
    """Say what is wrong with a label, where one was expected at `place`, after those of `names`."""
    place = after_blank(line, place)
    name = _WRITTEN.match(line, place)
    if name is None:
        return f"invalid label name for metric {go_quoted(metric)}"
    place = after_blank(line, name.end())
    if not line.startswith("=", place):
        if named:
            return f"multiple metric names for metric {go_quoted(metric)}"
        return f"expected '=' after label name, found {_rune(line, place)}"
    if name.group() in names:
        return _twice(metric)
    place = after_blank(line, place + 1)
    if not line.startswith('"', place):
        return f"expected '\"' at start of label value, found {_rune(line, place)}"
    value = _STRINGS.match(line, place)
    if value is not None:
        return f"unexpected end of label value {go_quoted(unescaped(value[1]))}"
    return f"label value {go_quoted(unescaped(line[place + 1 :]))} contains unescaped new-line"


def _rune(line: str, place: int) -> str:
    character = line[place : place + 1] or "\n"
    return "'\\''" if character == "'" else f"'{go_quoted(character)[1:-1]}'".replace('\\"', '"')
