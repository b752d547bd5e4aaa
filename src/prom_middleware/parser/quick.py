"""Lines as most are written, in one regular expression.

It takes no line that is to be refused; what it does not take is read again, with care.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from prometheus_client.samples import Sample

from prom_middleware.parser.line import UNESCAPED
from prom_middleware.parser.numbers import KEPT, Numbers, seconds

_NAME, _LABEL = r"[a-zA-Z_:][a-zA-Z0-9_:]*", r"[a-zA-Z_][a-zA-Z0-9_]*"
_VALUE = r'[^"\\\n]*(?:\\[\\n"][^"\\\n]*)*'
_PAIR = rf'{_LABEL}="{_VALUE}"'
_PAIRS_TEXT = rf"{_PAIR}(?:,{_PAIR})*"
_TEXT_LINE = re.compile(
    rf"({_NAME})(?:\{{((?:{_PAIRS_TEXT},?)?)\}}[ \t]*|[ \t]+)([^ \t\n]+)"
    r"(?:[ \t]+(-?[0-9]{1,18}))?[ \t]*\n"
)
_OPENMETRICS_LINE = re.compile(
    rf"({_NAME})(?:\{{((?:{_PAIRS_TEXT})?)\}})? ([^ \t\n]+)(?: ([^# \t\n][^ \t\n]*))?\n"
)
# Text without a backslash: there is nothing to unescape.
_COMMENT = re.compile(rf"#[ \t]+(HELP|TYPE)[ \t]+({_NAME})[ \t]+([^\s\\][^\n\\]*)\n")
_PAIRS = re.compile(rf'({_LABEL})="({_VALUE})"')
_ESCAPED = re.compile(r'\\([\\n"])')


def _unescaped(found: re.Match[str]) -> str:
    return UNESCAPED[found[1]]


class _Pairs(dict[str, tuple[str, str]]):
    """Labels by their texts, `name="value` where no quote is escaped: most are there many times."""

    def __init__(self, reserved: str) -> None:
        super().__init__()
        self._reserved = reserved

    def __missing__(self, text: str) -> tuple[str, str]:
        name, _, value = text.partition('="')
        if name.startswith(self._reserved):
            raise ValueError(f"{name} is reserved")
        if len(self) < KEPT:
            self[text] = name, value
        return name, value

    def labels(self, text: str) -> dict[str, str]:
        """Return all labels. Raises ValueError where one is there twice, or its name reserved."""
        # A comma after a quote is between two labels, unless a value begins with it.
        if "\\" in text or '=",' in text:
            pairs = [f'{name}="{value}' for name, value in _PAIRS.findall(text)]
        else:
            pairs = text.rstrip(",")[:-1].split('",')
        labels = dict(map(self.__getitem__, pairs))
        if len(labels) < len(pairs):
            raise ValueError("a label is there twice")
        if "\\" in text:
            labels = {name: _ESCAPED.sub(_unescaped, value) for name, value in labels.items()}
        return labels


def text_comment(line: str) -> tuple[str, str, str] | None:
    """Return what a HELP or TYPE line tells, as a `Comment`; None for one to be read with care."""
    found = _COMMENT.fullmatch(line)
    return (found[1], found[2], found[3].rstrip()) if found else None


# Half the time of the constructor, which is written in Python.
_new = cast("Callable[[type, Any], Sample]", tuple.__new__)


def text_sample() -> Callable[[str], Sample | None]:
    """Return what reads a sample of the text format; None for a line to be read with care."""
    return _reader(_TEXT_LINE, lambda time: int(time) / 1000)


def openmetrics_sample() -> Callable[[str], Sample | None]:
    """Return what reads a sample of OpenMetrics; None for a line to be read with care."""
    return _reader(_OPENMETRICS_LINE, seconds, reserved="__")


def _reader(
    pattern: re.Pattern[str], read_time: Callable[[str], Any], reserved: str = "__name__"
) -> Callable[[str], Sample | None]:
    match, labels_of, numbers = pattern.fullmatch, _Pairs(reserved).labels, Numbers()

    def sample(line: str) -> Sample | None:
        found = match(line)
        if found is None:
            return None
        name, inner, value, time = found.groups()
        try:
            labels = labels_of(inner) if inner else {}
            when = None if time is None else read_time(time)
            return _new(Sample, (name, labels, numbers[value], when, None, None))
        except ValueError:
            return None

    return sample
