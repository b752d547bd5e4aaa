"""The examples: nothing is wrong with them but that they are open, as examples are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMED = {
    "fastapi": ("fastapi", "app:app"),
    "flask": ("flask", "app:app"),
    "django": ("django", "shop.settings"),
    "wsgi": ("prometheus_client", "app:app"),
    "twisted": ("twisted.web", "app:site"),
    "gunicorn": ("prometheus_client", "app:app"),
}


@pytest.mark.parametrize("example", NAMED)
def test_an_example(example: str) -> None:
    package, named = NAMED[example]
    pytest.importorskip(package)
    done = subprocess.run(
        [sys.executable, "-m", "prom_middleware", "doctor", named],
        cwd=EXAMPLES / example,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": ""},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("open-metrics: /metrics is open to everybody\n")
    assert done.stdout.endswith(f"\n{named}: 1 finding\n")


def test_the_example_of_federation() -> None:
    """Its shop has two open places."""
    pytest.importorskip("fastapi")
    done = subprocess.run(
        [sys.executable, "-m", "prom_middleware", "doctor", "shop"],
        cwd=EXAMPLES / "federation",
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert "/metrics is open" in done.stdout
    assert "/federate is open" in done.stdout
    assert done.stdout.endswith("shop: 2 findings\n")
