"""Durations as Go writes them."""

from __future__ import annotations

import pytest

from prom_middleware.durations import go_seconds

RIGHT = {
    "1s": 1,
    "1m30.5s": 90.5,
    "1h1m1s1ms": 3661.001,
    ".5h": 1800,
    "2.m": 120,
    "3us": 3e-6,
    "3µs": 3e-6,
    "3\N{GREEK SMALL LETTER MU}s": 3e-6,
    "7ns": 7e-9,
    "0s": 0,
}


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_a_duration(text: str) -> None:
    assert go_seconds(text) == pytest.approx(RIGHT[text])


@pytest.mark.parametrize(
    "text", ["", "1", "s", ".s", "1s2", "1 s", "-1s", "1d", "\u0661s", "9" * 19 + "s", "1s\n"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        go_seconds(text)
