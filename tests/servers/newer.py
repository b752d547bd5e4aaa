"""Programs of Debian's newer suites: `.ci/newer-programs` fetches them, tests look whether it did.

Where PROM_MIDDLEWARE_REQUIRE_REAL=1 a test fetches what is missing, and fails if that fails; but it
is skipped, with the reason, where the archive cannot be reached: no change of ours mends that.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "newer-programs"
REQUIRED = os.environ.get("PROM_MIDDLEWARE_REQUIRE_REAL") == "1"
UNREACHABLE = 75  # EX_TEMPFAIL
PATIENCE = 900.0  # seconds; the script itself ends earlier


def program(name: str, real_program: Callable[[str, str], str]) -> str:
    """Return the path of a scraper, of this Debian or of a newer one; skip the test, or fail."""
    return real_program(name, name) if name == "prometheus" else newer_program(name)


def newer_program(name: str) -> str:
    """Return the path of `prometheus3` or `victoria-metrics`; skip the test, or fail, without."""
    code, said = _directory()
    if code == 0:
        return str(Path(said, name))
    missing = f"{name} is missing: {said}"
    if REQUIRED and code != UNREACHABLE:
        pytest.fail(f"{missing} (PROM_MIDDLEWARE_REQUIRE_REAL is set)", pytrace=False)
    pytest.skip(missing)


@cache
def _directory() -> tuple[int, str]:
    """Return the script's exit code, and the directory that it found or what it said instead."""
    command = [str(SCRIPT)] if REQUIRED else [str(SCRIPT), "--cached"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    said = done.stdout if done.returncode == 0 else done.stderr
    return done.returncode, said.strip()
