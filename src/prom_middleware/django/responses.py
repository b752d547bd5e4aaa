"""The response of a Django view, up to its last byte.

A handler calls `response.close()` once the last byte was sent, whatever kind of response it is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from typing import Any

from django.http.response import HttpResponseBase

from prom_middleware import failures
from prom_middleware.instrumentation import (
    COMPLETE,
    DISCONNECT,
    STATUSES,
    Observation,
    status_label,
)
from prom_middleware.instrumentation.tracing import TRACING


def observe_response(
    observation: Observation, response: HttpResponseBase, below: Mapping[str, Any]
) -> None:
    """Have `response` tell `observation` of its bytes and its end."""
    code, core = response.status_code, observation.core
    observation.status = STATUSES.get(code) or status_label(code)
    kind = response.headers.get("Content-Type", "")
    # Long enough, with an "e" in its place: that spares nearly all the calls.
    if len(kind) > 16 and kind[5] in "eE":
        observation.note_type(kind)
    end: Callable[[], None] = observation.finish
    if TRACING in core.modules:
        core.exemplars.hold(observation)
    if core.promises and not response.streaming:
        observation.promise()
    if not response.streaming:
        observation.sent = len(response.content)  # type: ignore[attr-defined]
    elif getattr(response, "file_to_stream", None) is not None and "wsgi.file_wrapper" in below:
        # To look at the content would take it from the server's sendfile.
        observation.sent = _file_size(response)
    else:
        content = response.streaming_content  # type: ignore[attr-defined]
        asynchronous: bool = response.is_async  # type: ignore[attr-defined]
        stream = Stream(observation, "REQUEST_METHOD" in below, asynchronous)
        wrapped = stream.pass_async(content) if asynchronous else stream.pass_sync(content)
        response.streaming_content = wrapped  # type: ignore[attr-defined]
        end = partial(stream.end, response)
    dropped = COMPLETE if "REQUEST_METHOD" in below else DISCONNECT
    response._resource_closers.append(Closer(observation, end, dropped))  # type: ignore[attr-defined]


class Closer:
    """What is called at the response's close.

    Django never closes a response whose sending raised (ASGI servers do that when the client is
    gone), nor one that middleware further out replaced: then this goes with the response, and
    `dropped` says how that ended.
    """

    __slots__ = ("_dropped", "_end", "_observation")

    def __init__(self, observation: Observation, end: Callable[[], None], dropped: str) -> None:
        self._observation = observation
        self._end = end
        self._dropped = dropped

    def __call__(self) -> None:
        """Record the end; never raises."""
        try:
            self._end()
        except Exception as error:
            failures.report("finish", error)
            self._observation.discard()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        # Middleware further out may keep the response in a cache: nothing of ours goes with it.
        return (_Nothing, ())

    def __del__(self) -> None:
        observation = getattr(self, "_observation", None)
        if observation is not None and not observation.done:
            observation.finish(self._dropped)


class Stream:
    """The pieces of a streaming response on their way to the server."""

    def __init__(self, observation: Observation, wsgi: bool, asynchronous: bool) -> None:
        self._observation = observation
        self._wsgi = wsgi
        # A WSGI handler reads an asynchronous stream whole before it sends anything.
        self._read_ahead = wsgi and asynchronous
        self._begun = self._exhausted = False

    def pass_sync(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield `pieces`, counted."""
        self._begun = True
        try:
            for piece in pieces:
                self._count(piece)
                yield piece
        except BaseException as error:
            self._failed(error)
            raise
        self._exhausted = True

    async def pass_async(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield `pieces`, counted."""
        self._begun = True
        try:
            async for piece in pieces:
                self._count(piece)
                yield piece
        except BaseException as error:
            self._failed(error)
            raise
        self._exhausted = True

    def _count(self, piece: bytes) -> None:
        try:
            if self._observation.core.promises and not self._read_ahead:
                self._observation.promise()
            self._observation.sent += len(piece)
        except Exception as error:  # a piece without a length is the server's affair
            failures.report("send", error)

    def _failed(self, error: BaseException) -> None:
        try:
            if isinstance(error, GeneratorExit):
                return  # closed by the server: `end` says what that means
            observation = self._observation
            observation.disconnected = isinstance(error, asyncio.CancelledError)
            if self._read_ahead:
                observation.sent = 0
            if self._wsgi and not observation.sent:
                observation.status = None  # PEP 3333: no header was sent, the server answers 500
            observation.failed(error)
        except Exception as failure:
            failures.report("finish", failure)
            self._observation.discard()

    def end(self, response: HttpResponseBase) -> None:
        """Record the end, at the response's close."""
        unread = not self._begun or self._observation.method == "HEAD"
        whole = self._exhausted or unread or self._whole(response)
        self._observation.finish(COMPLETE if whole else DISCONNECT)

    def _whole(self, response: HttpResponseBase) -> bool:
        length = response.get("Content-Length", "")
        return length.isdecimal() and self._observation.sent >= int(length)


def _file_size(response: Any) -> int:
    file = response.file_to_stream
    try:
        return int(os.fstat(file.fileno()).st_size - file.tell())
    except (AttributeError, OSError, ValueError):  # not a file of the operating system
        return int(response.get("Content-Length") or 0)


class _Nothing:
    def __call__(self) -> None:
        """Do nothing: what a `Closer` is after it was pickled."""
