"""Asking promtool."""

from __future__ import annotations

import subprocess


def promtool_says(program: str, page: bytes, *options: str) -> tuple[int, list[str]]:
    """Return promtool's exit code, and its remarks; those on several series are there once."""
    command = [program, "check", "metrics", *options]
    done = subprocess.run(command, input=page, capture_output=True, timeout=60)
    return done.returncode, sorted(set(done.stderr.decode().splitlines()))
