"""Match regular expressions in time that is linear in the text, whatever they are.

A program of states is followed for all its threads at once (https://swtch.com/~rsc/regexp/regexp2.html),
and what a set of states does with a character is remembered, so that most characters cost one look
into a dictionary. Nothing goes back, so nothing explodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from prom_middleware.exposition.refusals import SelectorError
from prom_middleware.exposition.selection.regexes import (
    BEGIN,
    END,
    Characters,
    Choice,
    Edge,
    Node,
    Repeat,
    Series,
    literals,
    parse,
)

Test = Callable[[str], bool]
# What one matcher may cost in a scrape, in states looked at: less than a second.
MAX_WORK = 2_000_000
# What is remembered of it.
MAX_REMEMBERED = 10_000


class State(NamedTuple):
    """What a state waits for: a character that passes `test`, or an end of the text."""

    test: Test | None
    edge: Edge | None
    to: tuple[int, ...]


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a text matches the whole of `pattern`.

    Raises SelectorError for what is no regular expression or a too large one; so may the matcher
    itself, when it has cost too much.
    """
    tree = parse(pattern)
    words = literals(tree)
    if words is not None:
        return frozenset(words).__contains__
    return Automaton(pattern, tree)


class Automaton:
    """One regular expression, and what has been found out about it."""

    def __init__(self, pattern: str, tree: Node) -> None:
        self._pattern = pattern
        self.work = 0
        self._states: list[State] = []
        self._final = self._add(State(None, None, ()))
        self._first = self._build(tree, self._final)
        self._start = self._closure([self._first], at_begin=True)
        self._moves: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        self._known: dict[str, bool] = {}

    def __call__(self, text: str) -> bool:
        """Tell whether `text` matches from its first to its last character."""
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            found = self._known[text] = self._match(text)
        return found

    def _match(self, text: str) -> bool:
        current, moves = self._start, self._moves
        for character in text:
            following = moves.get((current, character))
            if following is None:
                following = self._move(current, character)
            current = following
            if not current:
                return False
        self._spend(len(text) // 8 + 1)
        return self._final in self._closure(current, at_begin=not text, at_end=True)

    def _move(self, current: frozenset[int], character: str) -> frozenset[int]:
        states = self._states
        reached: list[int] = []
        for number in current:
            state = states[number]
            if state.test is not None and state.test(character):
                reached.extend(state.to)
        self._spend(len(current))
        if len(self._moves) >= MAX_REMEMBERED:
            self._moves.clear()
        following = self._moves[current, character] = self._closure(reached)
        return following

    def _closure(
        self, numbers: Iterable[int], at_begin: bool = False, at_end: bool = False
    ) -> frozenset[int]:
        """Return all states that are reached from `numbers` without a character."""
        open_edges: dict[Edge | None, bool] = {None: True, BEGIN: at_begin, END: at_end}
        waiting, found = list(numbers), set()
        while waiting:
            number = waiting.pop()
            if number not in found:
                found.add(number)
                state = self._states[number]
                if state.test is None and open_edges[state.edge]:
                    waiting.extend(state.to)
        self.work += len(found)
        return frozenset(found)

    def _spend(self, work: int) -> None:
        self.work += work
        if self.work > MAX_WORK:
            raise SelectorError(f"the regular expression {self._pattern!r} costs too much to match")

    # --- from the tree to states, from the end to the beginning

    def _add(self, state: State) -> int:
        self._states.append(state)
        return len(self._states) - 1

    def _build(self, node: Node, to: int) -> int:
        """Add the states of `node`, after which comes `to`; return the first of them."""
        if isinstance(node, Characters):
            return self._add(State(node.test, None, (to,)))
        if isinstance(node, Series):
            for part in reversed(node.parts):
                to = self._build(part, to)
            return to
        if isinstance(node, Choice):
            return self._fork([self._build(part, to) for part in node.parts])
        if isinstance(node, Repeat):
            return self._repeat(node, to)
        return self._add(State(None, node, (to,)))

    def _fork(self, ways: Sequence[int]) -> int:
        return self._add(State(None, None, tuple(ways)))

    def _repeat(self, node: Repeat, to: int) -> int:
        end = to
        if node.most is None:
            again = self._fork([])
            first = self._build(node.part, again)
            self._states[again] = State(None, None, (first, end))
            to = again
        for _ in range(0 if node.most is None else node.most - node.least):
            to = self._fork([self._build(node.part, to), end])
        for _ in range(node.least):
            to = self._build(node.part, to)
        return to
