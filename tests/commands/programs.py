"""Running the command line as its users do."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

Wrapper = Callable[[list[str]], list[str]]
FORKING = str(Path(__file__).with_name("forking.py"))
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


@cache
def _forking(*command: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, env=environment(), stdin=pipe, stdout=pipe, encoding="utf-8"
    )
    atexit.register(process.communicate)
    return process


def ask(*arguments: str, cwd: Path | None = None, text: str = "", imported: str = "") -> Any:
    """Do what `run` does, in a fork, where how Python starts and how it ends is not the point.

    The commands are imported before, and what is named.
    """
    process = _forking(*COMMAND[:-2], FORKING, *imported.split())
    assert process.stdin is not None
    assert process.stdout is not None
    with TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("input", "output", "errors")]
        for stream in streams:
            stream.write_text(text if stream is streams[0] else "", encoding="utf-8")
        asked = (arguments, str(cwd or Path.cwd()), environment(), [str(one) for one in streams])
        print(json.dumps(asked), file=process.stdin, flush=True)
        code = int(process.stdout.readline())
        said = [stream.read_text(encoding="utf-8") for stream in streams[1:]]
    return subprocess.CompletedProcess(arguments, code, *said)


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
