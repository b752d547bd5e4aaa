"""Running the command line as its users do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from forked import Forked
from prom_middleware import cli

Wrapper = Callable[[list[str]], list[str]]
COMMAND = [sys.executable, "-W", "error", "-m", "prom_middleware"]
PROGRAM = "import sys; from prom_middleware.cli import main; sys.exit(main())"


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


@cache
def _forked(python: tuple[str, ...], imported: tuple[str, ...]) -> Forked:
    return Forked(python, imported, environment())


def ask(
    *arguments: str,
    cwd: Path | None = None,
    text: str = "",
    imported: str = "",
    program: str = PROGRAM,
) -> Any:
    """Do what `run` does, in a fork, where how Python starts and how it ends is not the point.

    The commands are imported before, and what is named.
    """
    modules = ("prom_middleware.cli", *(command.module for command in cli.COMMANDS.values()))
    process = _forked(tuple(COMMAND[:-2]), (*modules, *imported.split()))
    return process.run(program, *arguments, cwd=cwd, env=environment(), text=text)


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
