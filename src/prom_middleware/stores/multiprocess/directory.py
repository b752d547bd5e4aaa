"""A directory for the workers of one server, found by each of them from the server's process."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from fcntl import LOCK_NB, LOCK_SH, flock
from time import time

from prom_middleware import failures

# Seconds in which a server in another container has started its workers, which then hold files.
STARTING = 3600.0
NAME = re.compile(r"(?P<pid>\d+)-(?P<started>\d+)-(?P<space>\d+)")


def private_directory(server: int) -> str:
    """Return the directory of the server with that pid, made if need be: ours alone, mode 0700.

    Those of servers that are gone are removed. Raises OSError or PermissionError where somebody
    else has made it, or put a symbolic link in its place.
    """
    base = os.path.join(tempfile.gettempdir(), f"prom_middleware-{os.getuid()}")
    _own(base)
    name = f"{server}-{_started(server) or 0}-{_namespace()}"
    _sweep(base, name)
    return _own(os.path.join(base, name))


def _own(path: str) -> str:
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not ours or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{path} is not a directory of ours alone (mode 0700); remove it")
    return path


def _sweep(base: str, ours: str) -> None:
    try:
        for name in os.listdir(base):
            if name != ours and _is_gone(base, name):
                with suppress(FileNotFoundError):  # another worker is at it
                    shutil.rmtree(os.path.join(base, name))
    except OSError as error:
        failures.report("store.sweep", error)


def _is_gone(base: str, name: str) -> bool:
    parts = NAME.fullmatch(name)
    if parts is None:
        return False
    if int(parts["space"]) != _namespace():
        return _is_deserted(os.path.join(base, name))
    pid, started = int(parts["pid"]), int(parts["started"])
    if _started(pid) is not None:
        return _started(pid) != started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _is_deserted(path: str) -> bool:
    """Tell whether nobody holds a file in `path`: another container's processes cannot be seen."""
    if time() - os.stat(path).st_mtime < STARTING:
        return False
    return not any(_is_held(os.path.join(path, name)) for name in os.listdir(path))


def _is_held(path: str) -> bool:
    with open(path, "rb") as file:
        try:
            flock(file, LOCK_SH | LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _started(pid: int) -> int | None:
    """Return when a process started, in ticks since the machine did: pids are used again."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may have anything in it.
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def _namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0
