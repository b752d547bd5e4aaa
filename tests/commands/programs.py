"""Running the command line as its users do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Wrapper = Callable[[list[str]], list[str]]
COMMAND = [sys.executable, "-W", "error", "-m", "prom_middleware"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "no_proxy": "*"}


def run(*arguments: str, cwd: Path | None = None, text: str = "") -> Any:
    """Run the command line to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        input=text,
        cwd=cwd,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


def start(
    arguments: Sequence[str], cwd: Path | None = None, wrap: Wrapper = list
) -> subprocess.Popen[str]:
    """Start the command line; what it prints and complains about is read from the process."""
    return subprocess.Popen(
        wrap([*COMMAND, *arguments]),
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
