"""Which store this process writes to: its own memory, or files that several processes share.

Files are used where `PROMETHEUS_MULTIPROC_DIR`, the ecosystem's variable, names a directory, and
in the workers of a server that is known to have several, in a private directory.
`PROM_MIDDLEWARE_MULTIPROC=off` turns both off.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from prom_middleware import failures
from prom_middleware.forks import in_child

if TYPE_CHECKING:
    from prom_middleware.stores.multiprocess import MultiprocessStore

SWITCH = "PROM_MIDDLEWARE_MULTIPROC"
OFF = ("off", "0", "false", "no")
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
# Set by a worker that found its server, for what it starts itself, such as a pool of processes; a
# server that it starts has a directory of its own.
FOUND = "PROM_MIDDLEWARE_MULTIPROC_DIR"
# Only a process that has one of these can be a server's worker: all others are spared the search.
SERVERS = ("gunicorn", "uvicorn", "hypercorn", "granian", "uwsgi")
# What `multiprocessing` calls the program in a process that it spawns.
SPAWNED = "__mp_main__"

_lock = threading.RLock()
_stores: dict[str, MultiprocessStore] = {}
# What this process found, or the one that it was forked from: its server is not to be seen again.
_found: str | None = None


@in_child
def _in_child() -> None:
    global _lock
    _lock = threading.RLock()  # a thread that is not in the child may have held the other


def named_directory() -> str | None:
    """Return the directory that the ecosystem's variable names, unless we are to keep out of it."""
    return None if is_off() else os.environ.get(DIRECTORY) or None


def shared_store() -> MultiprocessStore | None:
    """Return the store that this process shares with others, or None where it is alone."""
    if is_off():
        return None
    try:
        with _lock:
            directory = named_directory() or _private_directory() or os.environ.get(FOUND)
            return _store(directory) if directory else None
    except Exception as error:  # a system without flock, a directory that is not ours
        failures.report("store.directory", error)
        return None


def is_off(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether processes are to share nothing, by what an environment says."""
    return environment.get(SWITCH, "").lower() in OFF


def may_share() -> bool:
    """Tell whether this process, or a child of it, can come to share a store by itself."""
    if is_off():
        return False
    return DIRECTORY in os.environ or FOUND in os.environ or _may_have_server()


def _may_have_server() -> bool:
    # A program that is spawned may import its server only where it starts it.
    return is_spawned() or any(name in sys.modules for name in SERVERS)


def is_spawned() -> bool:
    """Tell whether `multiprocessing` has spawned this process, which imports the program again."""
    return getattr(sys.modules.get(SPAWNED), "__name__", "") == SPAWNED


def _private_directory() -> str | None:
    global _found
    if _found is None and _may_have_server():
        from prom_middleware.stores.multiprocess import servers

        server = servers.server_process()
        _found = None if server is None else _directory_of(server)
    return _found


def _directory_of(server: int) -> str:
    from prom_middleware.stores.multiprocess import directory, servers

    found = directory.private_directory(server)
    if servers.user() != os.geteuid():
        # What root leaves to the user that its workers will be.
        _store(found).arrivals.append(partial(directory.sweep, found))
    if server == os.getpid():
        # A server may replace itself, and then has another directory: only its workers know this.
        in_child(partial(os.environ.__setitem__, FOUND, found))
    else:
        os.environ[FOUND] = found
    return found


def _store(directory: str) -> MultiprocessStore:
    from prom_middleware.stores.multiprocess import MultiprocessStore

    directory = os.path.abspath(directory)
    store = _stores.get(directory)
    if store is None:
        store = _stores[directory] = MultiprocessStore(directory)
    return store
