"""One line, and how far it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping

from prom_middleware.errors import ParseError

_BLANKS = re.compile(r"[ \t]*")
_TOKEN = re.compile(r"[^ \t\n]*")
# Up to the end of a name or a value between quotes; `\` takes the next character with it.
_QUOTED = re.compile(r'[^"\\\n]*(?:\\[^\n][^"\\\n]*)*')
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
# What a character after a backslash stands for.
UNESCAPED = {"\\": "\\", "n": "\n", '"': '"'}
_ESCAPES = r"one of \\, \n and \""
# In HELP lines a quote needs no backslash, and one before it stays.
UNESCAPED_HELP = {**UNESCAPED, '"': r"\""}

END_OF_INPUT = "unexpected end of input stream"


class Line:
    """A line with its line feed, and the place of what is read next.

    A line without one is the last one of what was cut off: to need more of it is an error, in
    the words of Prometheus' parser.
    """

    __slots__ = ("at", "has_blanks", "number", "text")

    def __init__(self, text: str, number: int, has_blanks: bool = True) -> None:
        self.text, self.number, self.at = text, number, 0
        self.has_blanks = has_blanks  # where there may be as many as one likes

    def error(self, reason: str, at: int | None = None, expected: str = "") -> ParseError:
        """Return what is wrong `at` a place, or where the next character is."""
        column = (self.at if at is None else at) + 1
        return ParseError(reason, self.number, column, expected)

    def next(self) -> str:
        """Return the next character, and stay before it."""
        if self.at >= len(self.text):
            raise self.error(END_OF_INPUT, expected="the rest of the line, and a line feed")
        return self.text[self.at]

    def check_end(self) -> None:
        """Raise ParseError for a line without a line feed, with nothing in it that is missing."""
        if not self.text.endswith("\n"):
            self.at = len(self.text)
            self.next()

    def skip_blanks(self) -> None:
        """Go on to what is neither a space nor a tab."""
        found = _BLANKS.match(self.text, self.at) if self.has_blanks else None
        self.at = found.end() if found else self.at

    def match(self, pattern: re.Pattern[str]) -> str:
        """Read what `pattern` matches, which may be nothing."""
        found = pattern.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        if found.group() and self.at >= len(self.text):
            self.next()
        return found.group()

    def token(self) -> str:
        """Read up to the next blank, or the end."""
        return self.match(_TOKEN)

    def quoted(self, what: str, strict: bool) -> str:
        """Read what stands between quotes, from the first of them; `what` it is, for errors."""
        start = self.at + 1
        found = _QUOTED.match(self.text, start)
        end = found.end() if found else start
        text = unescape(self, self.text[start:end], start, strict)
        self.at = end
        if self.next() == "\\":
            self.at += 1
            raise self.error(f"invalid escape sequence '\\{self.next()}'", end, _ESCAPES)
        if self.next() != '"':
            raise self.error(f"{what} {go_quoted(text)} contains unescaped new-line")
        self.at += 1
        return text


def unescape(
    line: Line,
    text: str,
    start: int,
    strict: bool,
    plain: Mapping[str, str] = UNESCAPED,
) -> str:
    """Return `text`, which begins at `start`, as it was before it was escaped.

    What is no escape sequence stays as it is, or is an error.
    """
    if "\\" not in text:
        return text

    def one(found: re.Match[str]) -> str:
        if found[1] not in plain and strict:
            reason = f"invalid escape sequence '{found[0] if found[1] else chr(92) + chr(10)}'"
            raise line.error(reason, start + found.start(), _ESCAPES)
        return plain.get(found[1], found[0])

    return _ESCAPED.sub(one, text)


_GO_ESCAPES = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
_GO_ESCAPES |= {"\v": r"\v", "\\": r"\\"}


def _go_escaped(character: str, quote: str) -> str:
    if character in _GO_ESCAPES:
        return _GO_ESCAPES[character]
    if character == quote:
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:  # `surrogateescape`: a byte that is no UTF-8
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def go_quoted(text: str) -> str:
    """Return a text as Go's `%q` shows it."""
    return f'"{"".join(_go_escaped(one, chr(34)) for one in text)}"'


def go_byte(character: str) -> str:
    """Return the first byte of a character as Go's `%q` shows it."""
    first = chr(character.encode(errors="surrogateescape")[0])
    return f"'{_go_escaped(first, chr(39))}'"
