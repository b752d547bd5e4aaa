"""Whose turn it is: what is left for others, and who waits for whom."""

from __future__ import annotations

import pytest

from prom_middleware.stores import turn as turns
from prom_middleware.stores.turn import MOST_PENDING, Turn


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that somebody meant to wait, one after the other."""
    waits: list[float] = []
    monkeypatch.setattr(turns, "sleep", waits.append)
    return waits


def test_who_carries_out_what_others_left_does_not_wait_for_it(waits: list[float]) -> None:
    turn = Turn()
    written: list[int] = []

    def leave_two(number: int) -> None:
        turn.update(written.append, number)
        turn.update(written.append, number)

    give = turn.take()
    for number in range(MOST_PENDING):
        turn.update(leave_two, number)
    give(give)
    turn.drain()
    assert written == [number for number in range(MOST_PENDING) for _ in range(2)]
    assert waits == []


def test_who_leaves_too_much_waits_for_whoever_has_the_turn(waits: list[float]) -> None:
    turn = Turn()
    written: list[int] = []

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        turn.update(stop)
    give = turn.take()
    for number in range(MOST_PENDING + 1):
        turn.update(written.append, number)
    assert len(waits) == turns.PATIENCE
    give(give)
    turn.drain()
    assert written == list(range(MOST_PENDING + 1))
