"""What is to be done in a forked child is done there, and nowhere else."""

from __future__ import annotations

import os

import pytest

from prom_middleware.forks import in_child
from stores.multiprocess.children import run


def test_it_is_called_in_a_child_and_not_in_the_parent() -> None:
    called: list[int] = []

    @in_child
    def renew() -> None:
        called.append(os.getpid())

    def child() -> None:
        assert called == [os.getpid()]

    assert run(child) == 0
    assert called == []


def test_without_fork_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork")
    assert in_child(list) is list
