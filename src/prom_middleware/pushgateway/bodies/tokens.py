"""What the lines of a pushed text are made of: blanks, names, strings and numbers."""

from __future__ import annotations

import re

from prom_middleware import naming
from prom_middleware.parser.line import go_quoted
from prom_middleware.parser.numbers import milliseconds
from prom_middleware.pushgateway.bodies.errors import WrongLineError
from prom_middleware.pushgateway.numbers import parse_go_float

_BLANK = re.compile(r"[ \t]*")
NAME = re.compile(naming.METRIC_NAME)
LABEL_NAME = re.compile(naming.LABEL_NAME)
STRING = r'"((?:[^"\\]|\\.)*)"'
_TOKEN = re.compile(r"[^ \t]*")
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
_ESCAPE = re.compile(r"\\.?", re.DOTALL)


def after_blank(line: str, place: int) -> int:
    """Return the place of the first that is no blank, from `place` on."""
    found = _BLANK.match(line, place)
    return found.end() if found else place


def read_value(rest: str) -> tuple[float, bool]:
    """Return the value that the end of a line has, and whether a timestamp stands after it."""
    token, place = _token(rest, 0)
    try:
        value = parse_go_float(token)
    except ValueError:
        raise WrongLineError(f"expected float as value, got {go_quoted(token)}") from None
    if place == len(rest):
        return value, False
    token, place = _token(rest, after_blank(rest, place))
    try:
        milliseconds(token)
    except ValueError:
        problem = f"expected integer as timestamp, got {go_quoted(token)}"
        raise WrongLineError(problem) from None
    if place < len(rest):
        raise WrongLineError(f"spurious string after timestamp: {go_quoted(rest[place:])}")
    return value, True


def _token(text: str, place: int) -> tuple[str, int]:
    found = _TOKEN.match(text, place)
    return (found.group(), found.end()) if found else ("", place)


def label_value(text: str) -> str:
    """Return what stands between the quotes of a label, without its escapes."""
    value = unescaped(text) if "\\" in text else text
    if not value.isascii() and not is_utf8(value):
        raise WrongLineError(f"invalid label value {go_quoted(value)}")
    return value


def is_utf8(text: str) -> bool:
    """Tell whether a text that was decoded with lone surrogates has none of them."""
    return not any("\udc80" <= character <= "\udcff" for character in text)


def unescaped(text: str) -> str:
    """Return a text without its escapes."""
    return _ESCAPE.sub(_unescape, text)


def _unescape(found: re.Match[str]) -> str:
    try:
        return _ESCAPES[found.group()]
    except KeyError:
        wrong = found.group() if len(found.group()) == 2 else "\\\n"  # the end of the line
        raise WrongLineError(f"invalid escape sequence '{wrong}'") from None
