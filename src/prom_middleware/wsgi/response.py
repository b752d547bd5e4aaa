"""The response: its start, its body, and its end.

PEP 3333: the headers go out with the first non-empty piece of the body. An exception before that
makes the server answer 500, whatever `start_response` was told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prom_middleware import failures
from prom_middleware.instrumentation import (
    COMPLETE,
    DISCONNECT,
    OTHER,
    STATUSES,
    Observation,
    is_event_stream,
    status_label,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    Headers = list[tuple[str, str]]
    Write = Callable[[bytes], object]

_CODES = frozenset(STATUSES.values())


class Response:
    """What stands in the place of `start_response`, and of the `write` that it returns."""

    __slots__ = ("_headers", "_start_response", "_write", "observation")

    def __init__(self, observation: Observation, start_response: StartResponse) -> None:
        self.observation = observation
        self._start_response = start_response
        self._write: Write | None = None
        self._headers: Headers = []

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Write:
        """Call the server's, and note what it accepted."""
        more = () if exc_info is None else (exc_info,)
        self._write = self._start_response(status, headers, *more)
        try:
            code = status[:3]
            self.observation.status = code if code in _CODES else _unusual(code)
            self._headers = headers
            for name, value in headers:
                if len(name) == 12 and name.lower() == "content-type":
                    # Long enough, with an "e" in the right place: that spares nearly all the call.
                    if len(value) > 16 and value[5] in "eE":
                        self.observation.event_stream = is_event_stream(value)
                    break
        except Exception as error:
            failures.report("start_response", error)
        return self.write

    def write(self, data: bytes) -> None:
        """Call the server's `write`, and count."""
        if self._write is None:
            return
        try:
            self._write(data)
        except OSError:  # the client is gone
            self.observation.disconnected = True
            raise
        self.sent(data)

    def sent(self, data: bytes) -> None:
        """Count a piece of the body."""
        try:
            self.observation.sent += len(data)
        except Exception as error:
            failures.report("send", error)

    def whole(self) -> bool:
        """Tell whether as much was sent as the headers promised; a wrong promise is harmless."""
        for name, value in self._headers:
            if name.lower() == "content-length" and value.isdecimal():
                return self.observation.sent >= int(value)
        return False

    def finish(self, outcome: str) -> None:
        """Record the end; never raises."""
        try:
            self.observation.finish(outcome)
        except Exception as error:
            failures.report("finish", error)
            self.observation.abandon()

    def failed(self, error: BaseException) -> None:
        """Record that the application raised; never raises."""
        try:
            if not self.observation.sent and not self.observation.done:
                self.observation.status = None
            self.observation.failed(error)
        except Exception as failure:
            failures.report("finish", failure)
            self.observation.abandon()

    def pass_on(self, body: Iterable[bytes], environ: WSGIEnvironment) -> Iterable[bytes]:
        """Return what the server gets in the place of `body`."""
        try:
            wrapper = environ.get("wsgi.file_wrapper")
            if isinstance(wrapper, type) and isinstance(body, wrapper):
                _watch_file(self, body)
                return body
            return SizedBody(self, body) if hasattr(body, "__len__") else Body(self, body)
        except Exception as error:
            failures.report("body", error)
            self.finish(COMPLETE)
            return body


class Body:
    """The application's iterable, counted. Not a generator: a server may never iterate it."""

    __slots__ = ("_body", "_closed", "_pieces", "_response")

    def __init__(self, response: Response, body: Iterable[bytes]) -> None:
        self._response = response
        self._body = body
        self._pieces: Iterator[bytes] | None = None
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            self._pieces = iter(self._body)
        except BaseException as error:
            self._response.failed(error)
            raise
        return self

    def __next__(self) -> bytes:
        try:
            if self._pieces is None:
                iter(self)
            piece = next(self._pieces)  # type: ignore[arg-type]
        except StopIteration:
            self._response.finish(COMPLETE)
            raise
        except BaseException as error:
            self._response.failed(error)
            raise
        try:
            self._response.observation.sent += len(piece)
        except Exception as error:
            failures.report("send", error)
        return piece

    def close(self) -> None:
        """Close the application's iterable, once."""
        if self._closed:
            return
        self._closed = True
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            self._response.failed(error)
            raise
        self._ended()

    def __del__(self) -> None:
        # A test client, or a server at fault, drops the body without closing it.
        self._ended()

    def _ended(self) -> None:
        try:
            if not self._response.observation.done:
                self._response.finish(self._outcome())
        except Exception as error:
            failures.report("finish", error)

    def _outcome(self) -> str:
        # A server need not iterate what it does not send, nor look for an end that it knows.
        unread = self._pieces is None or self._response.observation.method == "HEAD"
        return COMPLETE if unread or self._response.whole() else DISCONNECT


class SizedBody(Body):
    """A body with a length: servers make a Content-Length from a single piece."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]


def _watch_file(response: Response, body: Any) -> None:
    """Record the end when the server closes its own file wrapper, which it may send by sendfile."""
    file = getattr(body, "filelike", None) or getattr(body, "file", None)
    size = _bytes_left(file)
    close = getattr(body, "close", None)

    def observed_close() -> None:
        if not response.observation.done:
            response.observation.sent += size
            response.finish(COMPLETE)
        if close is not None:
            close()

    body.close = observed_close


def _bytes_left(file: Any) -> int:
    try:
        position = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(position)
        return int(end - position)
    except (AttributeError, OSError, TypeError, ValueError):  # a pipe: nobody knows
        return 0


def _unusual(code: str) -> str:
    return status_label(int(code)) if code.isdecimal() else OTHER
