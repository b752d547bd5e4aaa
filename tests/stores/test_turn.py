"""One writer at a time, what others leave for him, and nobody who waits longer than need be."""

from __future__ import annotations

from itertools import count
from threading import Thread
from time import sleep

import pytest

from prom_middleware.stores import turn as turns
from prom_middleware.stores.turn import MOST_KEPT, MOST_LOOKS, MOST_PENDING, PATIENCE, PIECE, Turn


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that somebody meant to wait, one after the other; no time passes."""
    waits: list[float] = []
    monkeypatch.setattr(turns, "monotonic", lambda: 0.0)
    monkeypatch.setattr(turns, "sleep", waits.append)
    return waits


def test_who_carries_out_what_others_left_does_not_wait_for_it(waits: list[float]) -> None:
    turn = Turn()
    written: list[int] = []

    def leave_two(number: int) -> None:
        turn.update(written.append, number)
        turn.update(written.append, number)

    give = turn.tokens.pop()
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
    give = turn.tokens.pop()
    for number in range(MOST_PENDING + 1):
        turn.update(written.append, number)
    assert len(waits) == PATIENCE
    give(give)
    turn.drain()
    assert written == list(range(MOST_PENDING + 1))


def test_not_each_request_waits_for_who_waits_himself(waits: list[float]) -> None:
    turn = Turn()
    written: list[int] = []
    give = turn.tokens.pop()
    turn.waits = True
    for number in range(MOST_PENDING + 50):
        turn.update(written.append, number)
    assert len(waits) == PATIENCE  # one request's
    turn.waits = False
    give(give)
    turn.settle()
    assert written == list(range(MOST_PENDING + 50))


def test_there_is_an_end_to_what_is_kept_for_who_waits_himself(waits: list[float]) -> None:
    turn = Turn()
    turn.tokens.pop()
    turn.waits = True
    turn.update(print)
    turn.settle()
    turn.settle()
    assert len(waits) == PATIENCE
    turn.pending.extend((print, ()) for _ in range(MOST_KEPT))
    turn.settle()
    assert len(waits) == 2 * PATIENCE


def test_who_waits_himself_is_not_taken_for_lost() -> None:
    turn = Turn()
    inside: list[int] = []
    seen: list[int] = []

    def view() -> None:
        inside.append(1)
        turn.waits = True  # for a lock that another process has
        seen.append(len(inside))
        sleep(0.3)
        inside.pop()
        turn.waits = False

    readers = [Thread(target=turn.read, args=(view, 0.1)) for _ in range(2)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert seen == [1, 1]


def test_a_token_that_nobody_gives_back_is_lost_in_the_end() -> None:
    turn = Turn()
    turn.tokens.pop()
    for waits in (False, True):
        turn.waits = waits
        assert turn.read(lambda: "seen", timeout=0.02) == "seen"
        turn.tokens.pop()


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have time pass with each look at it."""
    times = count(step=PIECE)
    monkeypatch.setattr(turns, "monotonic", lambda: next(times))
    monkeypatch.setattr(turns, "sleep", lambda _: None)


@pytest.mark.usefixtures("passing")
def test_writers_notice_as_well_that_the_token_is_lost() -> None:
    turn = Turn()
    written: list[int] = []
    turn.tokens.pop()  # and then a signal's handler raises
    for number in range(3 * MOST_LOOKS):
        turn.update(written.append, number)
    assert written == list(range(3 * MOST_LOOKS))


@pytest.mark.usefixtures("passing")
def test_writers_do_not_take_for_lost_who_carries_out_or_waits() -> None:
    turn = Turn()
    written: list[int] = []

    def leave_many() -> None:
        for number in range(3 * MOST_LOOKS):
            turn.update(written.append, number)
        assert written == []

    for _ in range(2):
        turn.update(leave_many)  # who carries that out has the token meanwhile
        assert len(written) == 3 * MOST_LOOKS
        written.clear()
    give, turn.waits = turn.tokens.pop(), True
    leave_many()
    turn.waits = False
    give(give)
    turn.drain()
    assert len(written) == 3 * MOST_LOOKS


@pytest.mark.usefixtures("passing")
def test_writers_do_not_take_for_lost_who_has_it_each_time_they_come() -> None:
    turn = Turn()
    written: list[int] = []
    for number in range(3 * MOST_LOOKS):
        give = turn.tokens.pop()
        turn.update(written.append, number)
        assert len(written) == number
        give(give)
        turn.drain()
        assert len(written) == number + 1
