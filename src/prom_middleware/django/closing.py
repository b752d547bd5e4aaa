"""The end of a response that is not the one that Django sends.

Middleware further out may replace what a door saw, and nobody closes that. What Django sends it
closes, and says so: what is not closed by then is over. It does not say of which request; that, the
context tells. See https://docs.djangoproject.com/en/stable/ref/signals/#request-finished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from asgiref.sync import SyncToAsync
from django.core.signals import request_finished

from prom_middleware import failures

if TYPE_CHECKING:
    from prom_middleware.django.responses import Closer

# What waits for the end of a request, by what an ASGI handler has one of for each: it sends in a
# task with a context of its own, and closes in another one.
_by_handler: WeakKeyDictionary[object, list[Callable[[], object]]] = WeakKeyDictionary()
# And where a thread, or a test's client, does all of it.
_here: ContextVar[tuple[Closer, ...]] = ContextVar("prom_middleware_awaited", default=())


def expect_ends() -> None:
    """Have what was awaited be ended with the request."""
    request_finished.connect(_end, dispatch_uid="prom_middleware", weak=False)


def await_close(closer: Closer) -> None:
    """Have `closer` be called when the request is over, if not before."""
    handler = SyncToAsync.thread_sensitive_context.get(None)
    if handler is not None:
        _by_handler.setdefault(handler, []).append(closer)
        return
    awaited = _here.get()
    # Of another one, nobody has told the end: what waits for it goes as it would without us.
    same = awaited and awaited[0].observation.request is closer.observation.request
    _here.set((*awaited, closer) if same else (closer,))


def await_dropped(closer: Closer) -> None:
    """Have `closer` be told when the request is over, as if its response was dropped then.

    Where the client has left, Django drops what a thread returns: of an error page, the garbage
    collector would have to find it, in a cycle with the exception.
    """
    handler = SyncToAsync.thread_sensitive_context.get(None)
    if handler is not None:
        _by_handler.setdefault(handler, []).append(closer.dropped)


def _end(**_: Any) -> None:
    try:
        for end in _taken():
            end()
    except Exception as error:
        failures.report("finish", error)


def _taken() -> Iterable[Callable[[], object]]:
    handler = SyncToAsync.thread_sensitive_context.get(None)
    if handler is not None:
        return _by_handler.pop(handler, ())
    awaited = _here.get()
    _here.set(())
    return awaited
