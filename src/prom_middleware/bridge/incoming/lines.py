"""Lines of a stream, none of them longer than agreed, and the numbers in them."""

from __future__ import annotations

from collections.abc import Callable

from prom_middleware.parser.numbers import number as go_number


def number(text: str) -> float | None:
    """Return a float, as Go reads it: no spaces, no underscores; None if it is none."""
    try:
        return float(go_number(text))
    except ValueError:
        return None


class Lines:
    """Cuts a stream into lines; `too_long` is called for each that is longer than `limit` bytes."""

    def __init__(self, limit: int, too_long: Callable[[], None]) -> None:
        self._limit = limit
        self._too_long = too_long
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes; what begins in it is kept, within the limit."""
        if self._skipping:
            _, newline, data = data.partition(b"\n")
            self._skipping = not newline
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self._limit:
            self._rest = b""
            self._skipping = True
            self._too_long()
        return self._short(lines)

    def end(self) -> list[bytes]:
        """Return the last line, which nothing has ended."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []

    def _short(self, lines: list[bytes]) -> list[bytes]:
        short = [line for line in lines if len(line) <= self._limit]
        for _ in range(len(lines) - len(short)):
            self._too_long()
        return short
