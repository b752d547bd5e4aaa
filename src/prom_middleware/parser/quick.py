"""Lines as most are written: all of a block in one regular expression.

It takes no line that is to be refused, unless its labels or its numbers are: whoever reads those
finds out. What it does not take is read by itself, with care.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from prometheus_client.samples import Sample

from prom_middleware.parser.families import sample
from prom_middleware.parser.line import UNESCAPED
from prom_middleware.parser.numbers import KEPT, Numbers, is_number

_NAME, _LABEL = r"[a-zA-Z_:][a-zA-Z0-9_:]*", r"[a-zA-Z_][a-zA-Z0-9_]*"
# What of these characters is a number for Python is one for Go, but for some ways to write NaN.
_NUMBER = r"[-+.0-9a-zA-Z]+"
# Text without a backslash: there is nothing to unescape.
_TEXT = r"[^\s\\][^\n\\]*"
_OTHER = r"(.*\n|.+)"

# Labels up to the last quote before a bracket: `Pairs` looks at what is between.
_TEXT_SAMPLE = (
    rf'({_NAME})(?:\{{(?:(.+)",?)?\}}[ \t]*|[ \t]+)({_NUMBER})(?:[ \t]+(-?[0-9]{{1,18}}))?[ \t]*\n'
)
_TEXT_TOLD = (
    rf"\# HELP ({_NAME}) ({_TEXT})\n"
    r"\# TYPE \5 (counter|gauge|histogram|summary|untyped)\n"
)
# Name, labels, value, time; or a name, its help and type; or another line.
TextRow = tuple[str, str, str, str, str, str, str, str]
text_rows: Callable[[str], list[TextRow]]
text_rows = re.compile(f"{_TEXT_SAMPLE}|{_TEXT_TOLD}|{_OTHER}").findall

_SERIES = rf'({_NAME})(?:\{{(?:(.+)")?\}})?'
# Seconds, and what is after the dot.
_MEASURED = rf"({_NUMBER})(?: ([0-9]{{1,18}})(?:\.([0-9]{{1,9}}))?)?"
_OPENMETRICS_TOLD = (
    rf"\# HELP ({_NAME}) ({_TEXT})\n"
    r"\# TYPE \6 ([a-z]+)\n"
    r"(?:\# UNIT \6 ([a-z_]+)\n)?"
)
# Name, labels, value, time in two parts; or a name, its help, type and unit; or another line.
OpenmetricsRow = tuple[str, str, str, str, str, str, str, str, str, str]
openmetrics_rows: Callable[[str], list[OpenmetricsRow]]
openmetrics_rows = re.compile(f"{_SERIES} {_MEASURED}\n|{_OPENMETRICS_TOLD}|{_OTHER}").findall
# A line with an exemplar: to the expression above, all of it is labels, up to the last quote.
traced = re.compile(rf'{_SERIES} {_MEASURED} \# \{{(?:(.+)")?\}} {_MEASURED}\n').fullmatch

# Names between quotes, which are read a line at a time.
_QUOTED = r'"([^"\\\n]+)"'
quoted_text = re.compile(
    rf'\{{{_QUOTED}(?:,(.+)")?\}} ({_NUMBER})(?: (-?[0-9]{{1,18}}))?\n'
).fullmatch
quoted_openmetrics = re.compile(rf'\{{{_QUOTED}(?:,(.+)")?\}} {_MEASURED}\n').fullmatch

_COMMENT = re.compile(rf"#[ \t]+(HELP|TYPE)[ \t]+(?:({_NAME})|{_QUOTED})[ \t]+({_TEXT})\n")
_PAIR = re.compile(rf'(?:({_LABEL})|{_QUOTED})="([^"\\\n]*(?:\\[\\n"][^"\\\n]*)*)')
_ESCAPED = re.compile(r'\\([\\n"])')


class Pairs(dict[str, tuple[str, str]]):
    """Labels by their texts, `name="value` without the last quote: most are there many times.

    What is split at `",` is labels and nothing else, if each part is one. Raises ValueError for
    what is none, for a name whose begin is `reserved`, and for one between quotes unless `quoted`.
    """

    def __init__(self, reserved: str, *, quoted: bool = True, kept: int = KEPT) -> None:
        super().__init__()
        self._reserved, self._quoted, self._kept = reserved, quoted, kept

    def __missing__(self, text: str) -> tuple[str, str]:
        found = _PAIR.fullmatch(text)
        if found is None or (found[1] is None and not self._quoted):
            raise ValueError(f"{text} is no label")
        name, value = found[1] or found[2], found[3]
        if name.startswith(self._reserved):
            raise ValueError(f"{name} is reserved")
        if "\\" in value:
            value = _ESCAPED.sub(_unescaped, value)
        if len(self) < self._kept:
            self[text] = name, value
        return name, value

    def labels(self, text: str) -> dict[str, str]:
        """Return all labels of a text without its last quote. Raises ValueError."""
        parts = text.split('",')
        labels = dict(map(self.__getitem__, parts))
        if len(labels) < len(parts):
            raise ValueError("a label is there twice")
        return labels


def _unescaped(found: re.Match[str]) -> str:
    return UNESCAPED[found[1]]


class Bounds(dict[str, bool]):
    """Whether a text is a number."""

    def __missing__(self, text: str) -> bool:
        found = is_number(text)
        if len(self) < KEPT:
            self[text] = found
        return found


def text_comment(line: str, *, quoted: bool = True) -> tuple[str, str, str] | None:
    """Return what a HELP or TYPE line tells, as a `Comment`; None for one to be read with care."""
    found = _COMMENT.fullmatch(line)
    if found is None or (found[2] is None and not quoted):
        return None
    return found[1], found[2] or found[3], found[4].rstrip()


def text_sample() -> Callable[[str], Sample | None]:
    """Return what reads a sample of the text format; None for a line to be read with care."""
    match, labels_of = re.compile(_TEXT_SAMPLE).fullmatch, Pairs("__name__", quoted=False).labels
    numbers = Numbers()

    def read(line: str) -> Sample | None:
        found = match(line)
        if found is None:
            return None
        name, inner, value, time = found.groups()
        try:
            labels = labels_of(inner) if inner else {}
            when = None if time is None else int(time) / 1000
            return sample(Sample, (name, labels, numbers[value], when, None, None))
        except ValueError:
            return None

    return read
