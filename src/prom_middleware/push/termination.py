"""SIGTERM: it ends a job as an exception does, and waits while the job pushes.

Signals belong to the whole process and to its main thread, and so does this module's state. Where
the application has a handler of its own, nothing is changed: what that does decides.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from prom_middleware.forks import in_child

_watching = 0
_holding = 0
_pending = False


def watch() -> bool:
    """Have SIGTERM raise SystemExit from now on; tell whether `unwatch` is to be called."""
    global _watching
    if threading.current_thread() is not threading.main_thread():
        return False
    if _watching == 0:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return False
        signal.signal(signal.SIGTERM, _end)
    _watching += 1
    return True


def unwatch() -> None:
    """Undo a `watch`; the last one gives the signal back."""
    global _watching
    _watching -= 1
    if _watching == 0 and signal.getsignal(signal.SIGTERM) is _end:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def held() -> Iterator[None]:
    """Have SIGTERM wait until the block ends."""
    global _holding
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _holding += 1
    try:
        yield
    finally:
        _holding -= 1
        _raise_pending()


@in_child
def _in_child() -> None:
    """Have a fork's child end at SIGTERM as any process does: it is not the job."""
    global _watching, _holding, _pending
    if signal.getsignal(signal.SIGTERM) is _end:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _watching, _holding, _pending = 0, 0, False


def _raise_pending() -> None:
    global _pending
    if _pending and not _holding:
        _pending = False
        raise SystemExit(128 + signal.SIGTERM)


def _end(number: int, frame: FrameType | None) -> None:
    global _pending
    _pending = True
    _raise_pending()
