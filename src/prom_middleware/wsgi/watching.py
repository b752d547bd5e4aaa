"""What an application raises, told to a door further out that does not call it itself.

Twisted runs it in another thread, logs the exception, and answers in its place or hangs up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from prom_middleware import failures
from prom_middleware.wsgi.body import Body
from prom_middleware.wsgi.files import WRAPPER

if TYPE_CHECKING:
    from typing import TypeGuard

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from prom_middleware.instrumentation import Observation


def watching(app: WSGIApplication, outer: Observation | None) -> WSGIApplication:
    """Return what calls `app` and tells `outer` what it raises, if it might not hear of it."""
    return partial(_call, app, outer) if is_to_be_told(outer) else app


def is_to_be_told(outer: Observation | None) -> TypeGuard[Observation]:
    """Tell whether there is a door further out that hears of no exception by itself."""
    if outer is None or outer.done or outer.calls:
        return False
    outer.rarely()  # made now, while no other thread has anything to tell
    return True


class Watched(Body):
    """A body that tells an observation what it raises."""

    def __init__(self, body: Any, outer: Observation) -> None:
        self._body = body
        self._outer = outer

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._body:
                try:
                    yield piece
                except GeneratorExit:
                    return
        except BaseException as error:
            self._outer.broke(error)
            raise

    def close(self) -> None:
        """Close the application's iterable, once."""
        body, self._body = self._body, None
        try:
            close = getattr(body, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            self._outer.broke(error)
            raise


def _call(
    app: WSGIApplication,
    outer: Observation,
    environ: WSGIEnvironment,
    start_response: StartResponse,
) -> Iterable[bytes]:
    try:
        body = app(environ, start_response)
    except BaseException as error:
        outer.broke(error)
        raise
    return _watched(body, outer, environ.get(WRAPPER))


def _watched(body: Any, outer: Observation, wrapper: Any) -> Iterable[bytes]:
    try:
        if _may_break(body) and not _is_file(body, wrapper):
            return Watched(body, outer)
    except Exception as error:
        failures.report("body", error)
    return body  # type: ignore[no-any-return]


def _may_break(body: Any) -> bool:
    # A list does not, and who adds up its pieces for a Content-Length must find one.
    if hasattr(body, "__len__"):
        return False
    return hasattr(body, "__iter__") or hasattr(body, "__getitem__") or body is None


def _is_file(body: Any, wrapper: Any) -> bool:
    if wrapper is None or isinstance(wrapper, type):
        return wrapper is not None and isinstance(body, wrapper)
    # Of a function, only one that a door of another registry has put in its place tells.
    return getattr(wrapper, "body", body) is body
