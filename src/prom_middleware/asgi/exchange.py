"""HTTP over ASGI: what the messages of one request say of it.

Part of the hot path: the rules of `instrumentation/observation.py` hold here, but for the headers
of the response, which are looked through once for its type.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from prom_middleware import failures
from prom_middleware.exposition.asgi import Message, Receive, Send
from prom_middleware.instrumentation.observation import (
    COMPLETE,
    DISCONNECT,
    STATUSES,
    Observation,
    status_label,
)
from prom_middleware.instrumentation.rare import content_length

Headers = Iterable[tuple[bytes, bytes]]
# Loaded by whoever is served by them.
_HYPERCORN = "hypercorn.protocol.http_stream"
_GUNICORN = "gunicorn.asgi.protocol"


class Exchange(Observation):
    """An observation that stands between an application and its server."""

    __slots__ = ("headers", "server_receive", "server_send")

    calls = True

    # Set by the door: a constructor that calls the observation's would be a tenth of the whole.
    server_receive: Receive
    server_send: Send
    headers: Headers  # of a response that has begun

    async def receive(self) -> Message:
        """Receive a message for the application, and note it."""
        receive = self.server_receive
        message = await receive()
        try:
            if message["type"] == "http.request":
                self.received += len(message.get("body", b""))
            # Uvicorn tells of the end that it makes of a response that is too short.
            elif message["type"] == "http.disconnect" and not (self.rare and self.rare.refused):
                self.left()
        except Exception as error:
            failures.report("receive", error)
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the application, and note it once it is sent."""
        send, rare = self.server_send, self.rare
        # Hypercorn tells of its own end while it sends the last: only who left before is gone.
        gone = rare is not None and rare.disconnected
        try:
            if self.status is not None:
                size = len(message["body"])
            else:  # it is the start
                size = 0
                if self.promised is None and message["type"] == "http.response.start":
                    # With the status that it is about to have; the server may still refuse it.
                    status = message["status"]
                    self.status = STATUSES.get(status) or status_label(status)
                    self.promise()
                    self.status = None
        except Exception as error:
            size = _size_otherwise(message, error)
        try:
            await send(message)
        except OSError:  # how a server says that the client is gone
            self.left()
            raise
        except BaseException as error:
            self._interrupted(message, size, gone, error)
            raise
        else:  # CPython 3.11 has what an `except` does after that, and out of the way
            try:
                kind = message["type"]
                if kind == "http.response.body":
                    self.sent += size
                    # Before a start, a lenient server takes no end for one.
                    if (
                        "more_body" not in message or not message["more_body"]
                    ) and self.status is not None:
                        if rare is None:
                            self.finish()
                        else:
                            self._last_unless_trailers(gone)
                elif kind == "http.response.start":
                    if self.status is not None:  # of two, a lenient server sends the first
                        return
                    try:
                        self.status = STATUSES[message["status"]]
                    except KeyError:
                        self.status = status_label(message["status"])
                    try:
                        headers = message["headers"]
                        len(headers)
                    except (KeyError, TypeError):  # or an iterator: what reads it takes it away
                        headers = ()
                    self.headers = headers
                    for name, value in headers:
                        # Lower case as the specification has it, or as Django does.
                        if name in (b"content-type", b"Content-Type"):
                            # Long enough, an "e" in its place: that spares nearly all the calls.
                            if len(value) > 16 and value[5] in b"eE":
                                self.note_type(value.decode("latin-1"))
                            break
                    if "trailers" in message:
                        self.rarely().trailers = bool(message["trailers"])
                else:
                    self._sent_otherwise(kind, message, size, gone)
            except Exception as error:
                failures.report("send", error)

    def failed(self, error: BaseException) -> None:
        """Record that the application raised `error`, or that its server has cancelled it.

        Gunicorn's own worker does so some seconds after the client has left, which it tells to
        nobody who sends.
        """
        try:
            if _GUNICORN in sys.modules and _is_cancelled(error):
                self.disconnected = True
            Observation.failed(self, error)
        except Exception as failure:
            failures.report("finish", failure)

    def promised_length(self) -> int | None:
        """Return how long the headers say the body is; a wrong promise is harmless."""
        values = [value for name, value in self.headers if name.lower() == b"content-length"]
        return content_length(values[0]) if len(values) == 1 else None

    def _interrupted(self, message: Message, size: int, gone: bool, error: BaseException) -> None:
        """Note the last message where `send` has sent it, and was cancelled before it returned.

        Or that the server has refused it, since the headers promise more.

        Hypercorn tells of its own end before it returns; who listens for clients that leave, as
        Starlette does while it streams, takes that for one and cancels. Elsewhere it is one.
        """
        try:
            if isinstance(error, Exception) and not self.disconnected:
                self.rarely().refused = self._is_short(message, size)
            if gone or not self.disconnected or _HYPERCORN not in sys.modules:
                return
            kind = message["type"]
            if kind != "http.response.body":
                self._sent_otherwise(kind, message, size, gone)
            elif not message.get("more_body", False):
                self.sent += size
                self._last_unless_trailers(gone)
        except Exception as failure:
            failures.report("send", failure)

    def _is_short(self, message: Message, size: int) -> bool:
        if message["type"] != "http.response.body" or message.get("more_body", False):
            return False
        return self.promised_length() is not None and not self.is_whole(size)

    def _sent_otherwise(self, kind: str, message: Message, size: int, gone: bool) -> None:
        # https://asgi.readthedocs.io/en/latest/extensions.html
        if kind == "http.response.trailers":
            announced = self.rare is not None and self.rare.trailers
            if announced and not message.get("more_trailers", False):
                self._last(gone)
        elif kind == "http.response.pathsend":
            try:  # the file may be gone by now
                self.sent += os.stat(message["path"]).st_size
            finally:
                self._last_unless_trailers(gone)
        elif kind == "http.response.zerocopysend":
            self.sent += size
            if not message.get("more_body", False):
                self._last_unless_trailers(gone)

    def _last_unless_trailers(self, gone: bool) -> None:
        if self.rare is None or not self.rare.trailers:
            self._last(gone)

    def _last(self, gone: bool) -> None:
        if self.status is None:
            return
        # Servers before ASGI 2.4 drop what is sent to a client that is gone.
        self.finish(DISCONNECT if gone else COMPLETE)


def _size_otherwise(message: Message, error: Exception) -> int:
    """Return the size of what has no body to measure: that is what `error` says."""
    try:
        if not isinstance(error, KeyError):
            raise error
        return _zero_copied(message)
    except Exception as failure:
        failures.report("send", failure)
        return 0


def _zero_copied(message: Message) -> int:
    # Before it is sent: without an offset, that moves the file's position.
    if message["type"] != "http.response.zerocopysend":
        return 0
    count: int | None = message.get("count")
    if count is not None:
        return count
    file, offset = message["file"], message.get("offset")
    descriptor = file if isinstance(file, int) else file.fileno()
    start = os.lseek(descriptor, 0, os.SEEK_CUR) if offset is None else int(offset)
    return max(os.fstat(descriptor).st_size - start, 0)  # nothing is behind the end


def _is_cancelled(error: BaseException) -> bool:
    from prom_middleware.instrumentation.cancelling import is_cancelled  # loaded with the door

    return is_cancelled(error)
