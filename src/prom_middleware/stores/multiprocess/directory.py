"""A directory for the workers of one server, found by each of them from the server's process.

A gunicorn that is to replace another one (SIGUSR2) goes on in that one's directory: the two serve
side by side. What has its own name then is a symbolic link that is read; what is used is never
reached by following it.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_NB, LOCK_SH, flock
from time import time

from prom_middleware import failures
from prom_middleware.forks import BEGAN, stat_fields
from prom_middleware.stores.multiprocess import servers
from prom_middleware.stores.multiprocess.making import OPEN, make_directory

# Seconds in which a server in another container has started its workers, which then hold files.
STARTING = 3600.0
NAME = re.compile(r"(?P<pid>\d+)-(?P<started>\d+)-(?P<space>\d+)")
# Places in `stat_fields`.
PARENT, STARTED = 1, BEGAN


def private_directory(server: int) -> str:
    """Return the directory of the server with that pid, made if need be: ours alone, mode 0700.

    It belongs to the user as whom the workers run. Those of servers that are gone are removed.
    Raises OSError or PermissionError where somebody else has made it, or put a symbolic link in its
    place.
    """
    user = servers.user()
    base = os.path.join(tempfile.gettempdir(), f"prom_middleware-{user}")
    with _own(base, user) as there:
        path = os.path.join(base, _home(there, server))
        with _own(path, user, there):
            sweep(path)
    return path


@contextmanager
def _own(path: str, user: int, at: int | None = None) -> Iterator[int]:
    name = path if at is None else os.path.basename(path)
    make_directory(name, user, at)
    found = os.stat(name, dir_fd=at, follow_symlinks=False)
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == user
    if not ours or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{path} is not a directory of ours alone (mode 0700); remove it")
    fd = os.open(name, OPEN | os.O_NOFOLLOW, dir_fd=at)
    try:
        yield fd
    finally:
        os.close(fd)


def _home(base: int, server: int) -> str:
    """Return the name of the directory that a server has, or has taken over."""
    name = _name(server)
    before = os.environ.get(servers.REPLACED, "")
    # A server that a worker starts inherits the variable, and has another parent.
    if before and before == str(_field(server, PARENT)):
        with suppress(FileExistsError):  # another worker was here
            os.symlink(_target(base, _name(int(before))), name, dir_fd=base)
    return _target(base, name)


def _name(server: int) -> str:
    return f"{server}-{_field(server, STARTED) or 0}-{_namespace()}"


def _target(base: int, name: str) -> str:
    try:
        target = os.readlink(name, dir_fd=base)
    except OSError:  # it is none
        return name
    return target if NAME.fullmatch(target) else name


def sweep(path: str) -> None:
    """Remove what is beside `path` and of servers that are gone.

    Root does not go through what belongs to somebody else, who may put links there.
    """
    base, ours = os.path.split(path)
    try:
        there = os.open(base, OPEN | os.O_NOFOLLOW)
        try:
            if os.fstat(there).st_uid == os.geteuid():
                _sweep(base, there, ours)
        finally:
            os.close(there)
    except OSError as error:
        failures.report("store.sweep", error)


def _sweep(base: str, there: int, ours: str) -> None:
    names = os.listdir(there)
    gone = {name for name in names if name != ours and _is_gone(base, name)}
    used = {_target(there, name) for name in names if name not in gone}
    for name in gone - used:
        with suppress(FileNotFoundError):  # another worker is at it
            _remove(os.path.join(base, name))


def _remove(path: str) -> None:
    if os.path.islink(path):
        os.unlink(path)
    else:
        shutil.rmtree(path)


def _is_gone(base: str, name: str) -> bool:
    parts = NAME.fullmatch(name)
    if parts is None:
        return False
    if int(parts["space"]) != _namespace():
        return _is_deserted(os.path.join(base, name))
    pid, started = int(parts["pid"]), int(parts["started"])
    if _field(pid, STARTED) is not None:
        return _field(pid, STARTED) != started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _is_deserted(path: str) -> bool:
    """Tell whether nobody holds a file in `path`: another container's processes cannot be seen."""
    if not os.path.exists(path):  # a link to what is gone
        return True
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


def _field(pid: int, at: int) -> int | None:
    """Return a process's parent or, since pids are used again, its start in ticks since boot."""
    try:
        return int(stat_fields(pid)[at])
    except (OSError, IndexError, ValueError):
        return None


def _namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0
