"""Commands in namespaces of their own: a container, a disk that nobody else sees."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

import pytest

CONTAINER = ("--pid", "--fork", "--mount-proc")
DISK = ("--mount",)


def contained(command: list[str]) -> list[str]:
    """Return what runs a command as pid 1 of a container, on this machine's files and ports."""
    return [*unshare(CONTAINER), *command]


def with_tmpfs(directory: str, options: str, command: list[str]) -> list[str]:
    """Return what mounts a tmpfs on a directory, for a command alone, and becomes that command."""
    script = 'mount -t tmpfs -o "$0" tmpfs "$1" && shift && exec "$@"'
    return [*unshare(DISK), "sh", "-c", script, options, directory, *command]


def unshare(options: tuple[str, ...]) -> list[str]:
    """Return a command's beginning; the test is skipped where the kernel forbids namespaces."""
    command = ["unshare", "--user", "--map-root-user", *options]
    said = _refusal(*command)
    if said:
        pytest.skip(f"no namespaces of our own here: {said}")
    return command


@cache
def _refusal(*command: str) -> str:
    if not shutil.which("unshare"):
        return "unshare is missing: apt-get install util-linux"
    script = "mount -t tmpfs tmpfs /mnt" if "--mount" in command else "true"
    done = subprocess.run([*command, "sh", "-c", script], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"
