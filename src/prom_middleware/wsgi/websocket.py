"""Websockets over WSGI: the application takes the socket from the server, past every door.

Nobody tells: what becomes of a handshake is known at its end. It is a request like any other where
it got an answer, or else a client could hide its requests behind two headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prom_middleware import failures
from prom_middleware.instrumentation import COMPLETE
from prom_middleware.wsgi.body import PassedOn
from prom_middleware.wsgi.response import Response

# How applications let go of a server whose socket they had: under gunicorn, and werkzeug.
LETTING_GO = (StopIteration, ConnectionError)
# What is told of a socket that was taken, if anything is.
SWITCHED = (None, "101", "200")


def is_handshake(environ: Mapping[str, Any]) -> bool:
    """Tell whether a request that has the key asks for a websocket."""
    asks = "websocket" in environ.get("HTTP_UPGRADE", "").lower()
    return asks and environ.get("REQUEST_METHOD") == "GET"


def response_or_handshake(environ: Mapping[str, Any]) -> Response:
    """Return the observation of a request that has the key."""
    return Handshake() if is_handshake(environ) else Response()


class Handshake(Response):
    """An observation that is recorded if it was answered, and in progress only to be recorded."""

    __slots__ = ()

    def begin(self, core: Any, request: Any, method: str) -> None:
        """Start the clock."""
        super().begin(core, request, method)
        core.recorder.forget(self.method)

    def promise(self) -> None:
        """Note that a response is about to begin; a socket that was taken has none."""
        try:
            if self._is_answered():
                super().promise()
        except Exception as error:
            failures.report("promise", error)

    def give_back(self, body: Any) -> Any:
        """Return what is no iterable; None is from who has the socket, unless the server asks."""
        if body is not None:
            return super().give_back(body)
        nothing = PassedOn()
        nothing.response = self
        return nothing

    def finish(self, outcome: str = COMPLETE, late: Any = None) -> None:
        """Record a handshake that was answered."""
        try:
            if late is None and not self.done:
                if not self._is_answered():
                    self.done = True
                    return
                self.core.recorder.begin(self.method)
            super().finish(outcome, late)
        except Exception as error:
            failures.report("finish", error)

    def discard(self) -> None:
        """Forget it."""
        self.done = True

    def _is_answered(self) -> bool:
        if self.error is not None:
            return not isinstance(self.error, LETTING_GO)
        return self.sent > 0 or self.status not in SWITCHED
