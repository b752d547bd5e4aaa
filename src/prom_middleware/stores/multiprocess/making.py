"""Making files and directories, and whose they are.

Root makes them for others: with --preload, gunicorn's arbiter has the application before its
workers become another user. It gives away what is new, by its descriptor, to whoever could have
made it there himself: no link that somebody has put there leads to anything else.
"""

from __future__ import annotations

import os
from contextlib import suppress

from prom_middleware.stores.multiprocess import servers
from prom_middleware.stores.multiprocess.layout import (
    FLAGS,
    UNFINISHED,
    open_file,
    reserve,
    write_whole,
)

OPEN = os.O_DIRECTORY | os.O_CLOEXEC
MAKE = os.O_RDWR | os.O_CREAT | os.O_EXCL | FLAGS
OTHERS_WRITE = 0o002


def make_directory(path: str, user: int, at: int | None = None) -> None:
    """Make a directory for `user`, mode 0700, unless something is there; `at` as in `dir_fd`."""
    try:
        os.mkdir(path, 0o700, dir_fd=at)
    except FileExistsError:
        return
    if user != os.geteuid():
        fd = os.open(path, OPEN | os.O_NOFOLLOW, dir_fd=at)
        try:
            if not os.listdir(fd):  # else somebody has put another one in its place
                _give(fd, user)
        finally:
            os.close(fd)


def open_or_make(path: str) -> int:
    """Open a file, made if it is missing, in a directory that is made if that is."""
    with suppress(FileNotFoundError):
        return open_file(path)
    directory = os.path.dirname(os.path.abspath(path))
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    make_directory(directory, servers.user())
    with suppress(FileExistsError):  # another process was faster
        return _make_file(path)
    return open_file(path)


def create(directory: str, name: str, content: bytes, size: int) -> None:
    """Make a file at one stroke: it has its name only when all of it is there."""
    unfinished = os.path.join(directory, UNFINISHED)
    with suppress(FileNotFoundError):
        os.unlink(unfinished)
    fd = _make_file(unfinished)
    try:
        reserve(fd, 0, size)
        write_whole(fd, content, 0)
        os.rename(unfinished, os.path.join(directory, name))
    except OSError:
        os.unlink(unfinished)  # what there was of it would fill the disk
        raise
    finally:
        os.close(fd)


def _make_file(path: str) -> int:
    if os.geteuid():
        return os.open(path, MAKE, 0o600)
    directory, name = os.path.split(os.path.abspath(path))
    there = os.open(directory, OPEN)
    try:
        fd = os.open(name, MAKE, 0o600, dir_fd=there)
        _give(fd, _heir(os.fstat(there)))
    finally:
        os.close(there)
    return fd


def _heir(directory: os.stat_result) -> int:
    user = servers.user()
    return user if user and directory.st_mode & OTHERS_WRITE else directory.st_uid


def _give(fd: int, user: int) -> None:
    if user:
        with suppress(OSError):  # a root that may not: who cannot open it says so
            os.fchown(fd, user, -1)
