"""Which server this process is a worker of, told without any hook in a server's configuration."""

from __future__ import annotations

import gc
import os
import re
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from prom_middleware.stores.shared import is_spawned

# What runs a worker of the servers that start theirs as processes of `multiprocessing`. A program
# that starts a server in such a process itself has none of these below it.
WORKER_MODULES = ("uvicorn._subprocess", "hypercorn.asyncio.run", "hypercorn.trio.run", "granian.")
# The same in what such a process is told: a pickle has the function to be run by its module's name.
TOLD = re.compile(
    b"_target.{1,8}(?:%s)" % b"|".join(re.escape(name.encode()) for name in WORKER_MODULES),
    re.DOTALL,
)

# What programs import that start such a server themselves, and nobody else does.
STARTERS = ("gunicorn.app.base", "granian.server")

# Where a gunicorn that is to replace another (SIGUSR2) finds that one's pid, while it lives.
REPLACED = "GUNICORN_PID"


def server_process() -> int | None:
    """Return the pid of the server whose worker this process is or, being the server, will have."""
    found = (look() for look in (_uwsgi_master, _gunicorn_arbiter, _spawning_parent, _starter))
    return next((pid for pid in found if pid), None)


def _uwsgi_master() -> int | None:
    uwsgi: Any = sys.modules.get("uwsgi")
    return None if uwsgi is None else int(uwsgi.masterpid())


def _gunicorn_arbiter() -> int | None:
    """Return the pid of the arbiter below everything in the main thread, workers' included.

    With --preload the application is made in the arbiter itself, which has no pid noted yet.
    """
    arbiter = _arbiter()
    return None if arbiter is None else int(getattr(arbiter, "pid", None) or os.getpid())


def _arbiter() -> Any:
    if "gunicorn.arbiter" not in sys.modules:
        return None
    arbiter: Any = sys.modules["gunicorn.arbiter"].Arbiter
    candidates = (frame.f_locals.get("self") for frame in _main_thread())
    return next((each for each in candidates if isinstance(each, arbiter)), None)


def user() -> int:
    """Return the id of the user as whom workers run: with --user, not yet while root loads them."""
    own = os.geteuid()
    told = None if own else getattr(getattr(_arbiter(), "cfg", None), "uid", None)
    return own if told is None else int(told)


def _main_thread() -> Iterator[FrameType]:
    """Yield the frames of the main thread, or of all where that goes by another number.

    So it does once gevent or eventlet has patched `threading`: its number is a greenlet's then.
    """
    innermost = _innermost()
    while innermost:
        yield from _outwards(innermost.pop())


def _innermost() -> list[FrameType]:
    running = _running()
    main = running.get(threading.main_thread().ident or 0)
    try:
        return [*running.values(), *_switched_away()] if main is None else [main]
    finally:
        # One of them is this function's own: it would keep itself, and all that lives in those
        # further out, until the garbage collector comes.
        del running, main


def _running() -> dict[int, FrameType]:
    """Return the innermost frame of each thread, without a collection of garbage meanwhile.

    One that clears away a `threading.local` would have CPython 3.11 wait for itself for ever:
    https://github.com/python/cpython/issues/106883
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()
    finally:
        if collecting:
            gc.enable()


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _switched_away() -> Iterator[FrameType]:
    # What runs in a greenlet is not below what started the worker, but a greenlet further out is.
    module: Any = sys.modules.get("greenlet")
    outer = None if module is None else module.getcurrent().parent
    while outer is not None:
        if outer.gr_frame is not None:
            yield outer.gr_frame
        outer = outer.parent


def _spawning_parent() -> int | None:
    if "multiprocessing" not in sys.modules:
        return None
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is None:  # it has none before it has read what to run
        return os.getppid() if any(map(_is_told_to_work, _main_thread())) else None
    modules = (str(frame.f_globals.get("__name__")) for frame in _main_thread())
    return parent.pid if any(name.startswith(WORKER_MODULES) for name in modules) else None


def _starter() -> int | None:
    """Return our own pid in a program that is to fork workers, the application being made before.

    Should it not do that, it is the one worker of its directory.
    """
    starts = any(name in sys.modules for name in STARTERS)
    return os.getpid() if starts and not is_spawned() else None


def _is_told_to_work(frame: FrameType) -> bool:
    """Tell whether a process that is just made ready will be a worker.

    Each worker of a program that starts a server itself imports the program before it reads what
    to run. That is in the pipe by then.
    """
    if frame.f_globals.get("__name__") != "multiprocessing.spawn":
        return False
    pipe = frame.f_locals.get("from_parent")
    return pipe is not None and TOLD.search(pipe.peek()) is not None
