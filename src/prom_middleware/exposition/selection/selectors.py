"""Series selectors as PromQL has them: `name{label="value", other=~"a|b"}`.

https://prometheus.io/docs/prometheus/latest/querying/basics/#instant-vector-selectors
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from prom_middleware import naming
from prom_middleware.exposition.refusals import SelectorError
from prom_middleware.exposition.selection.automaton import matcher

NAME = "__name__"
MAX_LENGTH = 4096  # characters of one selector
MAX_MATCHERS = 50
METRIC = re.compile(naming.METRIC_NAME)
LABEL = re.compile(naming.LABEL_NAME)
BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*)*")  # and comments
QUOTES = ("'", '"', "`")
# Words of PromQL that are no names of metrics there, in whatever case; other words of it are.
RESERVED = frozenset(("atan2", "bool", "group_left", "group_right", "ignoring", "inf", "nan", "on"))
OPERATOR = re.compile(r"=~|!~|!=|=")
# What Go's strconv.Unquote reads; https://go.dev/ref/spec#Rune_literals
ESCAPE = re.compile(
    r"\\(?:[abfnrtv\\'\"]|x[0-9a-fA-F]{2}|[0-7]{3}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"
)
CONTROLS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class Matcher(NamedTuple):
    """What one label must be; a series without the label has it empty."""

    label: str
    operator: str
    value: str
    matches: Callable[[str], bool]


class Selector(NamedTuple):
    """All that a series must be, its name among it as the label `__name__`."""

    matchers: tuple[Matcher, ...]

    def names(self) -> frozenset[str] | None:
        """Return the names that series can have that are selected; None where many can."""
        found = [one.value for one in self.matchers if one[:2] == (NAME, "=")]
        return frozenset(found) if found else None

    def accepts_name(self, name: str) -> bool:
        """Tell whether a series may be called `name`."""
        return all(one.matches(name) for one in self.matchers if one.label == NAME)

    def accepts_labels(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a series may have `labels`, whatever its name is."""
        return all(
            one.matches(labels.get(one.label, "")) for one in self.matchers if one.label != NAME
        )


def parse_selector(text: str, *, federated: bool = False) -> Selector:
    """Return what `text` selects; raise SelectorError where it is none, and say what and where.

    A Prometheus asks more of the selectors in its queries than of those that are `federated`.
    """
    if len(text) > MAX_LENGTH:
        raise SelectorError(f"match[]: a selector has more than {MAX_LENGTH} characters")
    parser = _Parser(text)
    selector = parser.selector()
    if not federated:
        parser.check(selector)
    return selector


def _matcher(label: str, operator: str, value: str) -> Matcher:
    accepts = matcher(value) if operator in ("=~", "!~") else value.__eq__
    if operator.startswith("!"):
        return Matcher(label, operator, value, lambda given: not accepts(given))
    return Matcher(label, operator, value, accepts)


class _Parser:
    """Read one selector from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0

    def error(self, what: str, place: int | None = None) -> SelectorError:
        """Return what to raise."""
        shown = self.text if len(self.text) <= 80 else f"{self.text[:80]}..."
        where = (self.place if place is None else place) + 1
        return SelectorError(f"match[]={shown!r}: {what} (at character {where})")

    def read(self, pattern: re.Pattern[str]) -> str:
        """Pass over what `pattern` matches here, and blanks after it."""
        found = pattern.match(self.text, self.place)
        if found is None:
            return ""
        blank = BLANK.match(self.text, found.end())
        self.place = blank.end() if blank else found.end()
        return found.group()

    def take(self, sign: str) -> bool:
        """Pass over `sign` if it comes next, and over blanks after it."""
        if not self.text.startswith(sign, self.place):
            return False
        self.place += len(sign)
        self.read(BLANK)
        return True

    def selector(self) -> Selector:
        """Read the whole of it."""
        self.read(BLANK)
        matchers = []
        name = self.read(METRIC)
        if name.lower() in RESERVED:
            raise self.error(f"{name!r} is a word of PromQL, and no name without quotes", 0)
        if name:
            matchers.append(_matcher(NAME, "=", name))
        if self.take("{"):
            self.matchers(matchers)
        if self.place < len(self.text):
            raise self.error(f"unexpected {self.text[self.place]!r}")
        if not matchers:  # a Prometheus answers nothing, which looks healthy
            raise self.error("one matcher at least is wanted", 0)
        return Selector(tuple(matchers))

    def check(self, selector: Selector) -> None:
        """Refuse what a Prometheus refuses in a query."""
        names = [one.value for one in selector.matchers if one[:2] == (NAME, "=")]
        if len(names) > 1:
            raise self.error(f"the name is given twice: {names[0]!r}, {names[1]!r}", 0)
        # It would be nearly all there is, most often by mistake.
        if all(one.matches("") for one in selector.matchers):
            raise self.error("one matcher at least must not match the empty string", 0)

    def matchers(self, matchers: list[Matcher]) -> None:
        """Read what is between the braces."""
        while not self.take("}"):
            if len(matchers) >= MAX_MATCHERS:
                raise self.error(f"more than {MAX_MATCHERS} matchers")
            matchers.append(self.matcher())
            if not self.take(",") and not self.text.startswith("}", self.place):
                raise self.error("expected , or }")

    def matcher(self) -> Matcher:
        """Read `label="value"`, or a name in quotes."""
        quoted = self.text.startswith(QUOTES, self.place)
        label = self.string() if quoted else self.read(LABEL)
        if not label:
            raise self.error("expected a label's name")
        operator = self.read(OPERATOR)
        if not operator and quoted:
            return _matcher(NAME, "=", label)
        if not operator:
            raise self.error("expected =, !=, =~ or !~")
        place = self.place
        value = self.string()
        try:
            return _matcher(label, operator, value)
        except SelectorError as error:
            raise self.error(str(error), place) from error

    def string(self) -> str:
        """Read a string in one of the three kinds of quotes."""
        start, quote = self.place, self.text[self.place : self.place + 1]
        if quote not in QUOTES:
            raise self.error("expected a string in quotes")
        parts = []
        self.place += 1
        while not self.text.startswith(quote, self.place):
            if self.place >= len(self.text) or (quote != "`" and self.text[self.place] == "\n"):
                raise self.error(f"the string has no closing {quote}", start)
            parts.append(self.character(quote))
        self.take(quote)
        return _joined(parts)

    def character(self, quote: str) -> str:
        """Read one character of a string, or an escape for one."""
        if quote == "`" or self.text[self.place] != "\\":
            self.place += 1
            return self.text[self.place - 1]
        found = ESCAPE.match(self.text, self.place)
        escape = found.group()[1:] if found else ""
        if found is None or (escape in QUOTES and escape != quote):
            raise self.error("an escape that is none")
        try:
            character = _escaped(escape)
        except (ValueError, OverflowError):
            raise self.error(f"\\{escape} is no character") from None
        self.place = found.end()
        return character


def _escaped(escape: str) -> str:
    """Return the character; of a byte that is part of one, half of a surrogate pair."""
    if escape[0] in "uU":
        character = chr(int(escape[1:], 16))
        character.encode()  # Raises ValueError for half of a pair
        return character
    if not (escape[0] == "x" or escape.isdigit()):
        return CONTROLS.get(escape, escape)
    byte = int(escape[1:], 16) if escape[0] == "x" else int(escape, 8)
    return bytes([byte]).decode("utf-8", "surrogateescape")


def _joined(parts: list[str]) -> str:
    """Return the text in which bytes that stand side by side may be a character."""
    text = "".join(parts)
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # there was half of a pair before
        return text
