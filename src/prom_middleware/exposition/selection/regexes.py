r"""The syntax of regular expressions, as RE2 has it: https://github.com/google/re2/wiki/Syntax

What RE2 knows and this does not is refused by name: `\b`, scripts (`\p{Greek}`), lines (`(?m)`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from prom_middleware.exposition.refusals import SelectorError
from prom_middleware.exposition.selection.folding import cases_of

MAX_SIZE = 2000  # states
MAX_REPEAT = 1000  # as RE2
MAX_DEPTH = 50  # groups within groups

Ranges = tuple[tuple[str, str], ...]


class Edge(NamedTuple):
    """A place in the text: its begin or its end."""

    name: str


BEGIN, END = Edge("begin"), Edge("end")


class Characters(NamedTuple):
    """One character that passes `test`; `literal` where it is exactly one."""

    test: Callable[[str], bool]
    literal: str | None = None


class Series(NamedTuple):
    """One after the other."""

    parts: Sequence[Node]


class Choice(NamedTuple):
    """One of several."""

    parts: Sequence[Node]


class Repeat(NamedTuple):
    """The same, `least` to `most` times; None is without end."""

    part: Node
    least: int
    most: int | None


Node: TypeAlias = "Edge | Characters | Series | Choice | Repeat"

DIGIT: Ranges = (("0", "9"),)
WORD: Ranges = (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z"))
SPACE: Ranges = (("\t", "\n"), ("\f", "\r"), (" ", " "))
PERL = {"d": DIGIT, "w": WORD, "s": SPACE}
POSIX: dict[str, Ranges] = {
    "alnum": (("0", "9"), ("A", "Z"), ("a", "z")),
    "alpha": (("A", "Z"), ("a", "z")),
    "ascii": (("\x00", "\x7f"),),
    "blank": (("\t", "\t"), (" ", " ")),
    "cntrl": (("\x00", "\x1f"), ("\x7f", "\x7f")),
    "digit": DIGIT,
    "graph": (("!", "~"),),
    "lower": (("a", "z"),),
    "print": ((" ", "~"),),
    "punct": (("!", "/"), (":", "@"), ("[", "`"), ("{", "~")),
    "space": (("\t", "\r"), (" ", " ")),
    "upper": (("A", "Z"),),
    "word": WORD,
    "xdigit": (("0", "9"), ("A", "F"), ("a", "f")),
}
CONTROLS = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}
QUANTIFIERS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
CATEGORIES = ("C", "L", "M", "N", "P", "S", "Z")
CASED = ("Lu", "Ll", "Lt")


def parse(pattern: str) -> Node:
    """Return the tree of `pattern`; raise SelectorError for what is wrong in it, or too large."""
    parser = _Parser(pattern)
    tree = parser.choice()
    if parser.place < len(pattern):
        raise parser.error("unexpected )")
    if size(tree) > MAX_SIZE:
        raise SelectorError(f"the regular expression {_short(pattern)} is too large")
    return tree


def size(node: Node) -> int:
    """Return how many states a tree takes."""
    if isinstance(node, Series | Choice):
        return 1 + sum(map(size, node.parts))
    if isinstance(node, Repeat):
        part, further = size(node.part), 1 if node.most is None else node.most - node.least
        return 1 + part * node.least + (part + 1) * further
    return 1


def _fits(node: Node, times: int) -> bool:
    """Tell whether all in a tree is repeated `times` at most, one within the other, as in RE2."""
    if isinstance(node, Repeat):
        most = node.least if node.most is None else node.most
        is_gone = node.most == 0
        return is_gone or (most <= times and _fits(node.part, times // max(most, 1)))
    parts = node.parts if isinstance(node, Series | Choice) else ()
    return all(_fits(part, times) for part in parts)


def literals(node: Node) -> list[str] | None:
    """Return the texts that a tree stands for, where it is nothing but some of them."""
    if isinstance(node, Choice):
        found = [literals(part) for part in node.parts]
        return None if None in found else [word for words in found for word in words or ()]
    parts = node.parts if isinstance(node, Series) else [node]
    if all(isinstance(part, Characters) and part.literal is not None for part in parts):
        return ["".join(part.literal for part in parts)]  # type: ignore[union-attr, misc]
    return None


def _short(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 60 else f"{pattern[:60]}...")


def _one(character: str, fold: bool) -> Characters:
    if fold and len(cases_of(character)) > 1:
        return _among(((character, character),), fold=True)
    return Characters(character.__eq__, character)


def _among(ranges: Ranges, negated: bool = False, fold: bool = False) -> Characters:
    def test(character: str) -> bool:
        cases = cases_of(character) if fold else (character,)
        found = any(low <= case <= high for case in cases for low, high in ranges)
        return found != negated

    return Characters(test)


class _Parser:
    """Read one pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.place = 0
        self.depth = 0
        self.fold = False  # (?i)
        self.dot_all = True  # (?s), as Prometheus sets it

    def error(self, what: str, place: int | None = None) -> SelectorError:
        """Return what to raise."""
        where = (self.place if place is None else place) + 1
        return SelectorError(
            f"the regular expression {_short(self.pattern)}: {what} (at character {where})"
        )

    def take(self, text: str) -> bool:
        """Pass over `text` if it comes next."""
        found = self.pattern.startswith(text, self.place)
        self.place += len(text) if found else 0
        return found

    def next(self, missing: str) -> str:
        """Return the next character and pass over it."""
        if self.place >= len(self.pattern):
            raise self.error(missing)
        self.place += 1
        return self.pattern[self.place - 1]

    def until(self, end: str, missing: str) -> str:
        """Return what comes before `end`, and pass over both."""
        found = self.pattern.find(end, self.place)
        if found < 0:
            raise self.error(missing)
        text, self.place = self.pattern[self.place : found], found + len(end)
        return text

    def choice(self) -> Node:
        """Read `a|b|c`, to a closing bracket or the end."""
        parts = [self.series()]
        while self.take("|"):
            parts.append(self.series())
        return parts[0] if len(parts) == 1 else Choice(parts)

    def series(self) -> Node:
        """Read one alternative."""
        parts: list[Node] = []
        while self.place < len(self.pattern) and self.pattern[self.place] not in "|)":
            if self.take(r"\Q"):
                *others, last = self.quoted()
                parts.extend([*others, self.repeated(last)])
            else:
                parts.append(self.repeated(self.atom()))
        return parts[0] if len(parts) == 1 else Series(parts)

    def quoted(self) -> list[Node]:
        r"""Read `\Q...\E`, where nothing has a meaning of its own."""
        text, end, _ = self.pattern[self.place :].partition(r"\E")
        self.place += len(text) + len(end)
        return [_one(character, self.fold) for character in text] or [Series(())]

    def repeated(self, atom: Node) -> Node:
        """Read what may come after an atom."""
        counts = self.quantifier()
        if counts is None:
            return atom
        self.take("?")  # the lazy ones match the same texts
        place = self.place
        if self.quantifier() is not None:
            raise self.error("a repetition of a repetition needs brackets", place)
        repeat = Repeat(atom, *counts)
        if not _fits(repeat, MAX_REPEAT):
            raise self.error(f"too large: more than {MAX_REPEAT} repetitions, one within the other")
        if size(repeat) > MAX_SIZE:
            raise self.error(f"too large: more than {MAX_SIZE} states")
        return repeat

    def quantifier(self) -> tuple[int, int | None] | None:
        """Read `*`, `+`, `?` or `{n,m}`, if one comes next."""
        for sign, counts in QUANTIFIERS.items():
            if self.take(sign):
                return counts
        if not self.pattern.startswith("{", self.place):
            return None
        low, comma, high = self.pattern[self.place + 1 :].partition("}")[0].partition(",")
        if not _number(low) or not (high == "" or _number(high)):
            return None  # an ordinary bracket, in RE2 as well
        length = len(low) + len(comma) + len(high) + 1
        if not self.pattern.startswith("}", self.place + length):
            return None
        return self.counts(low, high if comma else low, length)

    def counts(self, low: str, high: str, length: int) -> tuple[int, int | None]:
        """Check the numbers of `{n,m}` and pass over them."""
        wrong = self.error(f"{{{low},{high}}} is no count from 0 to {MAX_REPEAT}")
        if len(low) > 4 or len(high) > 4:
            raise wrong
        least, most = int(low), int(high) if high else None
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            raise wrong
        self.place += length + 1
        return least, most

    def atom(self) -> Node:
        """Read one character, class, group or edge."""
        place = self.place
        character = self.next("something is missing")
        if character in "*+?":
            raise self.error(f"nothing to repeat before {character}", place)
        read = {"(": self.group, "[": self.among, "\\": self.escape}.get(character)
        if read is not None:
            return read()
        if character == ".":
            return _among((("\n", "\n"),), negated=True) if not self.dot_all else _among((), True)
        return {"^": BEGIN, "$": END}.get(character) or _one(character, self.fold)

    def group(self) -> Node:
        """Read a group, whose opening bracket has been read."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} groups within groups")
        flags = self.fold, self.dot_all
        ended = self.flags() if self.take("?") else False
        if ended:
            self.depth -= 1
            return Series(())  # (?i): for the rest of the group around it
        tree = self.choice()
        if not self.take(")"):
            raise self.error("a closing ) is missing")
        self.fold, self.dot_all = flags
        self.depth -= 1
        return tree

    def flags(self) -> bool:
        """Read a group's name or flags; return whether there is nothing else in the group."""
        if self.take("P<") or (
            self.take("<") and not self.pattern.startswith(("=", "!"), self.place)
        ):
            name = self.until(">", "a closing > is missing")
            if not name.isascii() or not name.replace("_", "a").isalnum():
                raise self.error("a group's name has other characters than letters and digits")
            return False
        on = True
        while (flag := self.next("a closing ) is missing")) not in ":)":
            if flag == "-" and on:
                on = False
            elif flag == "i":
                self.fold = on
            elif flag == "s":
                self.dot_all = on
            elif flag != "U":  # what is greedy matches the same texts
                raise self.error(f"(?{flag} is not supported", self.place - 1)
        if self.pattern[self.place - 2] == "-":
            raise self.error("no flag after (?-", self.place - 1)
        return flag == ")"

    def among(self) -> Node:
        """Read `[...]`, whose opening bracket has been read."""
        start = self.place - 1
        negated = self.take("^")
        parts: list[Characters] = []
        ranges: list[tuple[str, str]] = []
        first = True
        while first or not self.take("]"):
            first = False
            self.member(ranges, parts, start)
        one = _among(tuple(ranges), fold=self.fold)
        tests = [one.test, *(part.test for part in parts)]
        return Characters(lambda character: any(test(character) for test in tests) != negated)

    def member(self, ranges: list[tuple[str, str]], parts: list[Characters], start: int) -> None:
        """Read a character, a range or a class within `[...]`."""
        if self.take("[:"):
            parts.append(self.posix())
            return
        low = self.bound(start)
        if isinstance(low, Characters):
            parts.append(low)
            return
        high: str | Characters = low
        if self.pattern.startswith("-", self.place) and self.pattern[self.place + 1 :][:1] != "]":
            self.place += 1
            high = self.bound(start)
        if isinstance(high, Characters) or high < low:
            raise self.error("a range in [] that goes backwards")
        ranges.append((low, high))

    def bound(self, start: int) -> str | Characters:
        """Read one end of a range, or a class that stands for itself."""
        if self.place >= len(self.pattern):
            raise self.error("a closing ] is missing", start)
        character = self.next("a closing ] is missing")
        if character != "\\":
            return character
        found = self.escape()
        if not isinstance(found, Characters):
            raise self.error("no place in a text can stand in []")
        return found if found.literal is None else found.literal

    def posix(self) -> Characters:
        """Read `[:alpha:]` or `[:^alpha:]`."""
        name = self.until(":]", "a closing :] is missing")
        ranges = POSIX.get(name.removeprefix("^"))
        if ranges is None:
            raise self.error(f"[:{name}:] is no class")
        return _among(ranges, negated=name.startswith("^"), fold=self.fold)

    def escape(self) -> Node:
        """Read what comes after a backslash."""
        character = self.next("a backslash at the end")
        if character.lower() in PERL:
            return _among(PERL[character.lower()], negated=character.isupper())
        if character in "pP":
            return self.category(negated=character == "P")
        if character in "Az":
            return BEGIN if character == "A" else END
        if character in CONTROLS:
            return _one(CONTROLS[character], self.fold)
        if character in "x01234567":
            return _one(self.code(character), self.fold)
        if character.isascii() and not character.isalnum():
            return _one(character, self.fold)
        raise self.error(f"\\{character} is not supported", self.place - 2)

    def code(self, first: str) -> str:
        """Read a character's number: `x41`, `x{1F600}`, or octal digits."""
        place = self.place - 2
        if first == "x":
            wide = self.take("{")
            digits = self.until("}", "a closing } is missing") if wide else self.digits(2)
            base = 16
        else:
            digits, base = first + self.digits(2), 8
        try:
            return chr(int(digits, base))
        except (ValueError, OverflowError):
            raise self.error(f"\\{first} is followed by no character's number", place) from None

    def digits(self, most: int) -> str:
        """Read up to `most` characters that may be digits."""
        found = self.pattern[self.place : self.place + most]
        while found and not found.isalnum():
            found = found[:-1]
        self.place += len(found)
        return found

    def category(self, negated: bool) -> Characters:
        """Read a general category of Unicode: `pL`, `p{Lu}`, `p{^Lu}`."""
        place = self.place - 2
        name = self.until("}", "a closing } is missing") if self.take("{") else self.next("no name")
        if name.startswith("^"):
            name, negated = name[1:], not negated
        if name[:1] not in CATEGORIES or len(name) > 2:
            raise self.error(f"\\p{{{name}}} is not supported", place)
        wanted = CASED if name == "LC" else name
        return Characters(lambda one: unicodedata.category(one).startswith(wanted) != negated)


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")
