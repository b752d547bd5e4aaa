"""What becomes of a test whose real program is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RealProgram = Callable[[str, str], str]


def test_found(real_program: RealProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    python = Path(sys.executable)
    monkeypatch.setenv("PATH", str(python.parent))
    assert real_program(python.name, "python3") == str(python)


def test_missing_is_skipped(real_program: RealProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROM_MIDDLEWARE_REQUIRE_REAL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install its-package"):
        real_program("a-program-that-is-nowhere", "its-package")


def test_missing_fails_where_it_is_required(
    real_program: RealProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROM_MIDDLEWARE_REQUIRE_REAL", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install its-package"):
        real_program("a-program-that-is-nowhere", "its-package")
