"""The page on the doctor: its table has all checks, and its program runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()


def test_the_table_has_all_checks_in_the_order_of_djangos_numbers() -> None:
    pytest.importorskip("django")
    from prom_middleware.django.checks import IDS

    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)
    assert rows == list(IDS)
    assert list(IDS.values()) == [f"prom_middleware.W{n:03}" for n in range(1, len(IDS) + 1)]


def test_the_program() -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.startswith("open-metrics /metrics is open to everybody")
