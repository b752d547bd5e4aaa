"""Pages in blocks of whole lines: one search for all lines of a block costs less than one for each.

Lines end with a line feed and with nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

SIZE = 65536  # characters, and those up to the end of a line
LINES = 500


class Block:
    """Lines, of which the first one is the `number`th of its page."""

    __slots__ = ("_lines", "number", "text")

    def __init__(self, text: str, number: int) -> None:
        self.text, self.number = text, number
        self._lines: list[str] | None = None

    def line(self, number: int) -> str:
        """Return the line with this number in its page."""
        if self._lines is None:
            self._lines = self.text.split("\n")
        at = number - self.number
        is_last = at == len(self._lines) - 1  # which nothing has ended
        return self._lines[at] if is_last else self._lines[at] + "\n"


def blocks_of_text(text: str) -> Iterator[Block]:
    """Yield a page in blocks."""
    at, number = 0, 1
    while at < len(text):
        end = text.find("\n", at + SIZE) + 1 or len(text)
        yield Block(text[at:end], number)
        number += text.count("\n", at, end)
        at = end


def blocks_of_lines(lines: Iterable[str]) -> Iterator[Block]:
    """Yield lines in blocks; where the iterable raises, what came before that is yielded first.

    A block has no more lines than all before it, so that whoever wants the first family of many
    does not wait for the others.
    """
    waiting, number, failure = iter(lines), 1, None
    while failure is None:
        found: list[str] = []
        try:
            found.extend(islice(waiting, min(number, LINES)))
        except Exception as error:
            failure = error
        if not (found or failure):
            return
        for part in _parts(found):
            yield Block(part, number)
            number += part.count("\n")
    raise failure


def _parts(lines: list[str]) -> list[str]:
    """Return them in one part; each by itself where one has no end, or several in it."""
    text = "".join(lines)
    is_whole = text.count("\n") == len(lines) and all(map(_has_end, lines))
    return [text] if is_whole else lines


def _has_end(line: str) -> bool:
    return line[-1:] == "\n"
