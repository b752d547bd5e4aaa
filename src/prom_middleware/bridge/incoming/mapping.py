"""Rules that give what is received a name and labels, as those of statsd_exporter do.

https://github.com/prometheus/statsd_exporter#metric-mapping-and-configuration
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from prom_middleware.bridge.incoming.values import Windows

WINDOWS = Windows()
# client_golang's.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
QUANTILES = (0.5, 0.9, 0.99)
# A longer name matches no regular expression: some of them take the square of its length.
LONGEST = 1024

_REFERENCE = re.compile(r"\$(?:\{(\w+)\}|(\w+))", re.A)


@dataclass(frozen=True)
class Rule:
    """One mapping of the file, with what `defaults` says where it says nothing."""

    match: str
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    regex: re.Pattern[str] | None = None  # None for a glob
    drops: bool = False
    kind: str | None = None  # counter, gauge, observer; None for all
    observer: str = "summary"
    buckets: Sequence[float] = BUCKETS
    quantiles: Sequence[float] = QUANTILES
    windows: Windows = WINDOWS
    ttl: float = 0.0
    scale: float | None = None
    text: str = ""
    honor_labels: bool = False


class Match(NamedTuple):
    """A rule, and what it makes of a name; of a name without a rule, the default one."""

    rule: Rule
    name: str
    labels: Mapping[str, str]


class Rules:
    """All rules. Globs go before regular expressions, else the first one in the file wins.

    Where `ordered` is false, the glob wins that has a word where another one has a star.
    """

    def __init__(
        self, rules: Iterable[Rule] = (), default: Rule | None = None, *, ordered: bool = True
    ) -> None:
        self.default = default or Rule("")
        self._regexes: list[Rule] = []
        self._globs = Globs(ordered)
        for number, rule in enumerate(rules):
            if rule.regex is None:
                self._globs.add(rule, number)
            else:
                self._regexes.append(rule)

    def find(self, name: str, kind: str) -> Match | None:
        """Return what the rules say of a metric, or None."""
        found = self._globs.find(name.split("."), kind)
        if found is not None:
            rule, stars = found
            return _match(rule, {str(at): text for at, text in enumerate(stars, 1)})
        if len(name) > LONGEST:
            return None
        return self._find_regex(name, kind)

    def _find_regex(self, name: str, kind: str) -> Match | None:
        for rule in self._regexes:
            if rule.regex is None or rule.kind not in (None, kind):
                continue
            found = rule.regex.search(name)
            if found:
                groups = {
                    str(at): text or "" for at, text in enumerate((found[0], *found.groups()))
                }
                named = {at: text or "" for at, text in found.groupdict().items()}
                return _match(rule, {**groups, **named})
        return None


def _match(rule: Rule, groups: Mapping[str, str]) -> Match:
    def expanded(template: str) -> str:
        return _REFERENCE.sub(lambda found: groups.get(found[1] or found[2], ""), template)

    labels = {label: expanded(value) for label, value in rule.labels.items()}
    return Match(rule, expanded(rule.name), labels)


class Node:
    """What may come after some words of a name."""

    __slots__ = ("rules", "words")

    def __init__(self) -> None:
        self.words: dict[str, Node] = {}
        self.rules: dict[str | None, tuple[int, Rule]] = {}  # by kind; the first one of each


Found = tuple[int, Rule, tuple[str, ...]]


class Globs:
    """Globs by their words: each star is one word between dots."""

    def __init__(self, ordered: bool) -> None:
        self._ordered = ordered
        self._root = Node()

    def add(self, rule: Rule, number: int) -> None:
        """Add a rule, the `number`th in the file."""
        node = self._root
        for word in rule.match.split("."):
            node = node.words.setdefault(word, Node())
        node.rules.setdefault(rule.kind, (number, rule))

    def find(self, words: Sequence[str], kind: str) -> tuple[Rule, tuple[str, ...]] | None:
        """Return the rule that matches, and what its stars stand for."""
        best: Found | None = None
        for found in _walk(self._root, words, kind):
            if best is None or found[0] < best[0]:
                best = found
            if not self._ordered:
                break
        return None if best is None else best[1:]


def _walk(root: Node, words: Sequence[str], kind: str) -> Iterable[Found]:
    """Yield all rules that match, a word before a star at each place.

    It comes to each node of the tree at most once, however long the name is.
    """
    stack: list[tuple[Node, int, tuple[str, ...]]] = [(root, 0, ())]
    while stack:
        node, place, stars = stack.pop()
        if place == len(words):
            rules = [node.rules[one] for one in (kind, None) if one in node.rules]
            if rules:
                yield *min(rules), stars
            continue
        if "*" in node.words:
            stack.append((node.words["*"], place + 1, (*stars, words[place])))
        if words[place] in node.words and words[place] != "*":
            stack.append((node.words[words[place]], place + 1, stars))
