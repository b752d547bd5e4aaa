"""Pushed text: the format 0.0.4 as Go's reference parser reads it, with that parser's words.

https://pkg.go.dev/github.com/prometheus/common/expfmt#TextParser

Clients and their users know these errors, and a pushed group has to come out as it came in. So this
follows the reference line by line, where `prom_middleware.parser` is stricter or more lenient.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from prom_middleware.pushgateway.bodies.errors import BodyError
from prom_middleware.pushgateway.families import (
    GAUGE_HISTOGRAM,
    HISTOGRAM,
    SUMMARY,
    TYPES,
    UNTYPED,
    Distribution,
    Family,
    Labels,
    Metric,
)
from prom_middleware.pushgateway.numbers import go_quote, parse_go_float

_BLANK = re.compile(r"[ \t]*")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_STRING = r'"((?:[^"\\]|\\.)*)"'
# A label, or the name of a metric in quotes between the braces, and what stands after it.
_ITEM = re.compile(
    rf"[ \t]*(?:([a-zA-Z_][a-zA-Z0-9_]*)|{_STRING})[ \t]*(?:=[ \t]*{_STRING})?[ \t]*([,}}])"
)
# What most lines are; the others are read step by step.
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^}\\]*)\})? ([^ \t]+)")
# With what stands after it: one that is followed by anything else is not found.
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="([^"]*)"(?:,|\Z)')
_END = re.compile(r"[ \t]*\}")
_COMMENT = re.compile(r"[ \t]*#[ \t]*(HELP|TYPE)[ \t]+(.*)", re.DOTALL)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_INT64 = 2**63
_UINT64 = 2.0**64
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
_ESCAPE = re.compile(r"\\.?", re.DOTALL)

# The label that tells the samples of one metric apart, and the endings of its other samples.
_INNER = {SUMMARY: "quantile", HISTOGRAM: "le"}
_ENDINGS = {SUMMARY: ("_count", "_sum"), HISTOGRAM: ("_count", "_sum", "_bucket")}
_ALL_ENDINGS = _ENDINGS[HISTOGRAM]


class _WrongLineError(Exception):
    """What is wrong, without the number of the line."""


@dataclass(slots=True)
class _Tally:
    """A summary or a histogram that is being read."""

    labels: Labels
    count: float = 0
    sum: float = 0.0
    points: list[tuple[float, float]] = field(default_factory=list)
    has_timestamp: bool = False

    def finished(self) -> Metric:
        """Return the metric."""
        value = Distribution(self.count, self.sum, tuple(self.points))
        return Metric(self.labels, value, None, self.has_timestamp)


@dataclass(slots=True)
class _Draft:
    """A family that is being read."""

    name: str
    type: str | None = None
    help: str | None = None
    metrics: list[Metric] = field(default_factory=list)
    # Of summaries and histograms, whose metrics take many lines.
    tallies: dict[frozenset[tuple[str, str]], _Tally] = field(default_factory=dict)

    def finished(self) -> Family:
        """Return the family."""
        metrics = self.metrics or [one.finished() for one in self.tallies.values()]
        return Family(self.name, self.type or UNTYPED, self.help, metrics)


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
        except _WrongLineError as error:
            raise _error(number, str(error)) from None
    if lines[-1].strip(" \t"):
        raise _error(len(lines), _unfinished(lines[-1]))
    return reader.families()


def _error(number: int, problem: str) -> BodyError:
    return BodyError(f"text format parsing error in line {number}: {problem}")


def _unfinished(line: str) -> str:
    first = line.lstrip(" \t")[0]
    begun = first in '#{"' or _NAME.match(first)
    return "unexpected end of input stream" if begun else "invalid metric name"


class _Reader:
    """Reads lines one after the other."""

    def __init__(self, utf8_names: bool) -> None:
        self._utf8_names = utf8_names
        self._drafts: dict[str, _Draft] = {}

    def families(self) -> list[Family]:
        """Return what was read; a family that has no metrics is none."""
        families = [draft.finished() for draft in self._drafts.values()]
        return [family for family in families if family.metrics]

    def read(self, line: str) -> None:
        """Read one line, without its end."""
        if self._quick(line):
            return
        place = _after_blank(line, 0)
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
            raise _WrongLineError("invalid metric name in comment")
        draft, _ = self._draft_of(name)
        content = rest[_after_blank(rest, place) :]
        if content:
            _COMMENTS[keyword](draft, content)

    def _comment_name(self, rest: str) -> tuple[str, int]:
        found = _STRINGS.match(rest) if self._utf8_names else None
        if found:
            return _unescaped(found[1]), found.end()
        plain = _NAME.match(rest)
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
        _add(draft, ending, labels, value)
        return True

    def _sample(self, line: str, place: int) -> None:
        found = _NAME.match(line, place)
        if found is None:
            raise _WrongLineError("invalid metric name")
        draft, ending = self._typed_draft_of(found.group())
        place = _after_blank(line, found.end())
        labels: list[tuple[str, str]] = []
        if line.startswith("{", place):
            labels, place = self._labels(draft, line, place + 1)
        _add(draft, ending, labels, line[place:])

    def _named_inside(self, line: str, place: int) -> None:
        """Read `{"a name","label"="value"} 1`."""
        found = _ITEM.match(line, place)
        if found is None or found[3] is not None:
            raise _WrongLineError(_wrong_name(line, place))
        name = found[1] if found[2] is None else _unescaped(found[2])
        if not self._utf8_names and not _NAME.fullmatch(name):
            raise _WrongLineError(f"invalid metric name {go_quote(name)}")
        draft, ending = self._typed_draft_of(name)
        labels: list[tuple[str, str]] = []
        place = _after_blank(line, found.end())
        if found[4] == ",":
            labels, place = self._labels(draft, line, place, named=True)
        _add(draft, ending, labels, line[place:])

    def _labels(
        self, draft: _Draft, line: str, place: int, *, named: bool = False
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
                raise _WrongLineError(_wrong_label(draft.name, line, place, names, named))
            name = self._label_name(found[1], found[2])
            if name in names:
                raise _WrongLineError(_twice(draft.name))
            if name != _INNER.get(draft.type or ""):
                names.add(name)
            labels.append((name, _label_value(found[3])))
            place = found.end() - (found[4] == "}")
            closed = _END.match(line, place)
        return labels, _after_blank(line, closed.end())

    def _label_name(self, plain: str | None, quoted: str | None) -> str:
        name = _unescaped(quoted or "") if plain is None else plain
        if name == "__name__":
            raise _WrongLineError('label name "__name__" is reserved')
        if plain is None and not self._utf8_names and not _LABEL_NAME.fullmatch(name):
            raise _WrongLineError(f"invalid label name {go_quote(name)}")
        return name

    def _typed_draft_of(self, name: str) -> tuple[_Draft, str]:
        draft, ending = self._draft_of(name)
        if draft.type is None:
            draft.type = UNTYPED
        return draft, ending

    def _draft_of(self, name: str) -> tuple[_Draft, str]:
        """Return the family that a name belongs to, and the ending that says what of it."""
        found = self._drafts.get(name)
        if found is not None:
            return found, ""
        if name.endswith(_ALL_ENDINGS):
            for type_, endings in _ENDINGS.items():
                for ending in endings:
                    draft = self._drafts.get(name.removesuffix(ending))
                    if name.endswith(ending) and draft is not None and draft.type == type_:
                        return draft, ending
        found = self._drafts[name] = _Draft(name)
        return found, ""


def _set_help(draft: _Draft, content: str) -> None:
    if draft.help is not None:
        raise _WrongLineError(f"second HELP line for metric name {go_quote(draft.name)}")
    draft.help = _unescaped(content)
    if not _is_utf8(draft.help):  # the original passes it on to every scraper
        raise _WrongLineError(f"invalid HELP {go_quote(draft.help)}")


def _set_type(draft: _Draft, content: str) -> None:
    if draft.type is not None:
        name = go_quote(draft.name)
        raise _WrongLineError(
            f"second TYPE line for metric name {name}, or TYPE reported after samples"
        )
    if content.upper() not in TYPES:
        raise _WrongLineError(f"unknown metric type {go_quote(content)}")
    draft.type = content.upper()


_COMMENTS: dict[str, Callable[[_Draft, str], None]] = {"HELP": _set_help, "TYPE": _set_type}
_STRINGS = re.compile(_STRING)
_WRITTEN = re.compile(rf"{_LABEL_NAME.pattern}|{_STRING}")


def _after_blank(line: str, place: int) -> int:
    found = _BLANK.match(line, place)
    return found.end() if found else place


def _add(draft: _Draft, ending: str, labels: list[tuple[str, str]], rest: str) -> None:
    value, has_timestamp = _value(rest)
    inner = _INNER.get(draft.type or "")
    if draft.type == GAUGE_HISTOGRAM:
        raise _WrongLineError(f"unexpected type for metric name {go_quote(draft.name)}")
    if inner is None:
        draft.metrics.append(Metric(tuple(labels), value, None, has_timestamp))
        return
    point, own = _split(inner, labels)
    tally = draft.tallies.setdefault(frozenset(own), _Tally(own))
    tally.has_timestamp |= has_timestamp
    if ending == "_count":
        tally.count = _count(value)
    elif ending == "_sum":
        tally.sum = value
    elif point is not None and point == point:
        tally.points.append((point, _count(value) if draft.type == HISTOGRAM else value))


def _split(inner: str, labels: list[tuple[str, str]]) -> tuple[float | None, Labels]:
    """Return the bound or quantile of a sample, and its other labels."""
    point = None
    for name, text in labels:
        if name == inner:
            try:
                point = parse_go_float(text)
            except ValueError:
                problem = f"expected float as value for '{inner}' label, got {go_quote(text)}"
                raise _WrongLineError(problem) from None
    return point, tuple(pair for pair in labels if pair[0] != inner)


def _count(value: float) -> int:
    if not 0 <= value < _UINT64:
        raise _WrongLineError(f"expected a count, got {value}")
    return int(value)


def _value(rest: str) -> tuple[float, bool]:
    """Return the value that a line ends with, and whether a timestamp stands after it."""
    token, place = _token(rest, 0)
    try:
        value = parse_go_float(token)
    except ValueError:
        raise _WrongLineError(f"expected float as value, got {go_quote(token)}") from None
    if place == len(rest):
        return value, False
    token, place = _token(rest, _after_blank(rest, place))
    if not _INTEGER.fullmatch(token) or len(token) > 20 or not -_INT64 <= int(token) < _INT64:
        raise _WrongLineError(f"expected integer as timestamp, got {go_quote(token)}")
    if place < len(rest):
        raise _WrongLineError(f"spurious string after timestamp: {go_quote(rest[place:])}")
    return value, True


_TOKEN = re.compile(r"[^ \t]*")


def _token(text: str, place: int) -> tuple[str, int]:
    found = _TOKEN.match(text, place)
    return (found.group(), found.end()) if found else ("", place)


def _label_value(text: str) -> str:
    value = _unescaped(text) if "\\" in text else text
    if not value.isascii() and not _is_utf8(value):
        raise _WrongLineError(f"invalid label value {go_quote(value)}")
    return value


def _is_utf8(text: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in text)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_unescape, text)


def _unescape(found: re.Match[str]) -> str:
    try:
        return _ESCAPES[found.group()]
    except KeyError:
        raise _WrongLineError(f"invalid escape sequence '{found.group()}'") from None


def _twice(metric: str) -> str:
    return f"duplicate label names for metric {go_quote(metric)}"


def _wrong_name(line: str, place: int) -> str:
    """Say what is wrong where the metric's name was expected between the braces, at `place`."""
    place = _after_blank(line, place)
    name = _WRITTEN.match(line, place)
    place = _after_blank(line, name.end()) if name else place
    if name is None or line[place : place + 1] in ("=", ""):
        return "invalid metric name"
    return f"unexpected end of metric name {_rune(line, place)}"


def _wrong_label(metric: str, line: str, place: int, names: set[str], named: bool) -> str:
    """Say what is wrong with a label, where one was expected at `place`, after those of `names`."""
    place = _after_blank(line, place)
    name = _WRITTEN.match(line, place)
    if name is None:
        return f"invalid label name for metric {go_quote(metric)}"
    place = _after_blank(line, name.end())
    if not line.startswith("=", place):
        if named:
            return f"multiple metric names for metric {go_quote(metric)}"
        return f"expected '=' after label name, found {_rune(line, place)}"
    if name.group() in names:
        return _twice(metric)
    place = _after_blank(line, place + 1)
    if not line.startswith('"', place):
        return f"expected '\"' at start of label value, found {_rune(line, place)}"
    value = _STRINGS.match(line, place)
    if value is not None:
        return f"unexpected end of label value {go_quote(_unescaped(value[1]))}"
    return f"label value {go_quote(_unescaped(line[place + 1 :]))} contains unescaped new-line"


def _rune(line: str, place: int) -> str:
    character = line[place : place + 1] or "\n"
    return "'\\''" if character == "'" else f"'{go_quote(character)[1:-1]}'".replace('\\"', '"')
