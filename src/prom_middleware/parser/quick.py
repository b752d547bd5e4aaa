"""Lines as most are written: all of a block in one regular expression.

It takes no line that is to be refused, unless its labels or its numbers are: whoever reads those
finds out. What it does not take is read by itself, with care.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from prometheus_client.samples import Sample

from prom_middleware import naming
from prom_middleware.parser.families import sample
from prom_middleware.parser.line import UNESCAPED
from prom_middleware.parser.numbers import KEPT, Numbers, is_number

_NAME, _LABEL = naming.METRIC_NAME, naming.LABEL_NAME
_QUOTED = r'"[^"\\\n]+"'
# What of these characters is a number for Python is one for Go, but for some ways to write NaN.
_NUMBER = r"[-+.0-9a-zA-Z]{1,299}"  # an integer of more digits may be out of range
_VALUE = r'[^"\\\n]*(?:\\[\\n"][^"\\\n]*)*'
_TEXT = r"\S.*|"
# A name between quotes comes with the bracket before it. Labels are up to the last quote before a
# bracket, without it: `Pairs` looks at what is between.
_SERIES = rf"({_NAME}|\{{{_QUOTED})"
_IS_QUOTED, _IS_PLAIN = '(?<=")', '(?<!")'
_BEFORE_LABELS = rf"(?:{_IS_PLAIN}\{{|{_IS_QUOTED},)"
_TEXT_SAMPLE = (
    rf"{_SERIES}(?:{_IS_PLAIN}[ \t]+|{_IS_QUOTED}\}}[ \t]*|"
    rf'{_BEFORE_LABELS}(?:(.+)"[ \t]*(?:,[ \t]*)?)?\}}[ \t]*)'
    rf"({_NUMBER})(?:[ \t]+(-?[0-9]{{1,18}}))?[ \t]*\n"
)
_TOLD_NAME = rf"({_NAME}|{_QUOTED})"
_KIND = "(counter|gauge|histogram|summary|untyped)"
_TEXT_TOLD = (
    rf"\# HELP {_TOLD_NAME} ({_TEXT})\n(?:\# TYPE \5 {_KIND}\n)?|"
    rf"\# TYPE {_TOLD_NAME} {_KIND}\n(?:\# HELP \8 (\S.*)\n)?"
)
# Blank lines, and comments that tell nothing.
_NOTHING = r"\n|\#(?![ \t]*(?:HELP|TYPE)).*\n"
# Name, labels, value, time; or a name, its help and type; or a name, its type and help; or another
# line; or nothing.
TextRow = tuple[str, str, str, str, str, str, str, str, str, str, str]
text_rows: Callable[[str], list[TextRow]]
text_rows = re.compile(rf"{_TEXT_SAMPLE}|{_TEXT_TOLD}|{_NOTHING}|(.*\n|.+)").findall

# Up to the first bracket; with brackets in values, value by value.
_TRACED_LABELS = rf'([^}}\n]+|(?:[^"}}\n]*"{_VALUE}")*[^"}}\n]*"{_VALUE})"'
# Seconds, and what is after the dot.
_MEASURED = rf"({_NUMBER})(?: ([0-9]{{1,18}})(?:\.([0-9]{{1,9}}))?)?"
_OPENMETRICS_SAMPLE = (
    rf"{_SERIES}(?:{_IS_PLAIN} |{_IS_QUOTED}\}} |{_BEFORE_LABELS}{_TRACED_LABELS}\}} |"
    rf"{_IS_PLAIN}\{{\}} ){_MEASURED}(?: (\# \{{.+))?\n"
)
_KEYWORD = r"(HELP|TYPE|UNIT)"
_OPENMETRICS_TOLD = (
    rf"\# {_KEYWORD} {_TOLD_NAME} ({_TEXT})\n"
    rf"(?:\# (?!\7 ){_KEYWORD} \8 ({_TEXT})\n)?(?:\# (?!\7 |\10 ){_KEYWORD} \8 ({_TEXT})\n)?"
)
# Name, labels, value, time in two parts, exemplar; or a keyword, a name and what is told of it, and
# the next two keywords and texts; or, with nothing in it, another line.
OpenmetricsRow = tuple[str, str, str, str, str, str, str, str, str, str, str, str, str]
openmetrics_rows: Callable[[str], list[OpenmetricsRow]]
openmetrics_rows = re.compile(rf"{_OPENMETRICS_SAMPLE}|{_OPENMETRICS_TOLD}|(?:.*\n|.+)").findall
# Labels, value, time in two parts.
exemplar_parts = re.compile(rf'\# \{{(?:(.+)")?\}} {_MEASURED}').fullmatch

_BLANKS = r"[ \t]*"
_ESCAPED = re.compile(r'\\([\\n"])')


def _pairs(blanks: str) -> Callable[[str], list[tuple[str, str, str]]]:
    """Return what finds labels: a name, or one between quotes, and a value; and what is none."""
    name = f'{blanks}(?:({_LABEL})|"([^"\\\\\\n]+)"){blanks}'
    return re.compile(rf'{name}={blanks}"({_VALUE})"{blanks}(?:,|$)|.+').findall


_plain_pairs, _spaced_pairs = _pairs(""), _pairs(_BLANKS)


class Pairs(dict[str, tuple[str, str]]):
    """Labels by their texts, `name="value` without the last quote: most are there many times.

    Raises ValueError for what is none, for a name whose begin is `reserved`, and for one between
    quotes unless `quoted`. There may be `blanks` around everything.
    """

    def __init__(
        self, reserved: str, *, quoted: bool = True, blanks: bool = False, kept: int = KEPT
    ) -> None:
        super().__init__()
        self._reserved, self._quoted, self._kept = reserved, quoted, kept
        self._find = _spaced_pairs if blanks else _plain_pairs
        self._names: dict[str, str] = {}  # by what is before the equals sign

    def __missing__(self, text: str) -> tuple[str, str]:
        written, equals, value = text.partition('="')
        name = self._names.get(written) if equals else None
        if name is None or '"' in value or "\\" in value:
            [(name, value)] = self._look(text)
            if written in (name, f'"{name}"', f" {name}") and len(self._names) < KEPT:
                self._names[written] = name
        if len(self) < self._kept:
            self[text] = name, value
        return name, value

    def labels(self, text: str) -> dict[str, str]:
        """Return all labels of a text without its last quote. Raises ValueError."""
        begin, equals, value = text.partition('="')
        if equals and '"' not in value and "\\" not in value:  # it is the only one
            name = self._names.get(begin) or self._plain_name(begin)
            if name is not None:
                return {name: value}
        if '\\",' in text or '" ,' in text:  # it cannot be split at what is between labels
            found = self._look(text)
            labels, written = dict(found), len(found)
        else:
            parts = text.split('",')
            labels, written = dict(map(self.__getitem__, parts)), len(parts)
        if len(labels) < written:
            raise ValueError("a label is there twice")
        return labels

    def _plain_name(self, written: str) -> str | None:
        """Return a name that needs no look at each character: a state set has one of its own."""
        if not (written.isascii() and written.isidentifier()) or written.startswith(self._reserved):
            return None
        if len(self._names) < KEPT:
            self._names[written] = written
        return written

    def _look(self, text: str) -> list[tuple[str, str]]:
        """Return the labels of a text, looking at each character."""
        found = self._find(text + '"')
        return [(self._checked(plain, quoted), _plain(value)) for plain, quoted, value in found]

    def _checked(self, plain: str, quoted: str) -> str:
        name = plain or quoted
        if not name or (quoted and not self._quoted):
            raise ValueError("this is no label")
        if name.startswith(self._reserved):
            raise ValueError(f"{name} is reserved")
        return name


def _plain(value: str) -> str:
    if "\\" not in value:
        return value
    if "\\\\" in value:  # of two, the first one escapes the second, and that nothing
        return _ESCAPED.sub(_unescaped, value)
    return value.replace('\\"', '"').replace("\\n", "\n")


def _unescaped(found: re.Match[str]) -> str:
    return UNESCAPED[found[1]]


class Bounds(dict[str, bool]):
    """Whether a text is a number."""

    def __missing__(self, text: str) -> bool:
        found = is_number(text)
        if len(self) < KEPT:
            self[text] = found
        return found


def text_sample() -> Callable[[str], Sample | None]:
    """Return what reads a sample of the text format; None for a line to be read with care."""
    match = re.compile(_TEXT_SAMPLE).fullmatch
    labels_of = Pairs("__name__", quoted=False, blanks=True).labels
    numbers = Numbers()

    def read(line: str) -> Sample | None:
        found = match(line)
        if found is None or found[1][0] == "{":
            return None
        name, inner, value, time = found.groups()
        try:
            labels = labels_of(inner) if inner else {}
            when = None if time is None else int(time) / 1000
            return sample(Sample, (name, labels, numbers[value], when, None, None))
        except ValueError:
            return None

    return read
