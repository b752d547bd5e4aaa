"""Pages are read in blocks of lines: where those end makes no difference."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check.random_pages import pages
from parser.shown import shown
from parser.test_beside_prometheus_client import OPENMETRICS_PAGES, TEXT_PAGES
from prom_middleware.parser import (
    ParseError,
    blocks,
    openmetrics_fd_to_metric_families,
    openmetrics_string_to_metric_families,
    text_fd_to_metric_families,
    text_string_to_metric_families,
)

Read = Callable[..., Iterator[Any]]
OPENMETRICS = (openmetrics_string_to_metric_families, openmetrics_fd_to_metric_families)
TEXT = (text_string_to_metric_families, text_fd_to_metric_families)


def outcome(families: Iterator[Any]) -> list[Any]:
    """Return what is read, and at the end the error with its place, if there is one."""
    found: list[Any] = []
    try:
        found.extend(shown([family])[0] for family in families)
    except ParseError as error:
        found.append((error.line, error.column, error.reason, error.expected))
    return found


def check(page: str, of_text: Read, of_lines: Read, strict: bool, size: int) -> None:
    expected = outcome(of_text(page, strict=strict))
    with mock.patch.multiple(blocks, SIZE=size, LINES=max(1, size // 10)):
        assert outcome(of_text(page, strict=strict)) == expected
        assert outcome(of_lines(io.StringIO(page), strict=strict)) == expected
        assert outcome(of_lines(io.StringIO(page).readlines(), strict=strict)) == expected


@given(pages(), st.booleans(), st.integers(0, 100))
def test_text(page: str, strict: bool, size: int) -> None:
    check(page, *TEXT, strict, size)


@given(st.sampled_from(OPENMETRICS_PAGES), st.data())
def test_openmetrics(page: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(page)))
    page = page[:at] + data.draw(st.sampled_from(["", "\n", " ", '"', "x", "# EOF\n"])) + page[at:]
    check(page, *OPENMETRICS, data.draw(st.booleans()), data.draw(st.integers(0, 100)))


@pytest.mark.parametrize("page", TEXT_PAGES)
def test_lines_without_their_ends_are_lines(page: str) -> None:
    lines = page.split("\n")
    expected = outcome(text_string_to_metric_families(page, strict=False))
    assert outcome(text_fd_to_metric_families(lines, strict=False)) == expected


def test_what_came_before_a_failure_is_read() -> None:
    def lines() -> Iterator[str]:
        yield from ("a 1\n", "b 1\n", "c 1\n")
        raise OSError("gone")

    families = text_fd_to_metric_families(lines())
    assert [next(families).name for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(OSError, match="gone"):
        next(families)


def test_families_that_ended_before_an_error_are_read() -> None:
    page = "# TYPE a gauge\na 1\n# HELP b x\n# TYPE a gauge\n"
    families = text_string_to_metric_families(page)
    assert [next(families).name] == ["a"]
    with pytest.raises(ParseError, match="line 4, column 1"):
        next(families)


def test_no_more_lines_are_read_ahead_than_were_read() -> None:
    read: list[int] = []

    def lines() -> Iterator[str]:
        for number in range(10_000):
            read.append(number)
            yield f"a{number} 1\n"

    for place, _ in enumerate(text_fd_to_metric_families(lines())):
        assert len(read) <= min(2 * place + 1, place + blocks.LINES)
