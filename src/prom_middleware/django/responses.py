"""The response of a Django view, up to its last byte.

A handler calls `response.close()` once the last byte was sent, whatever kind of response it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from prom_middleware import failures
from prom_middleware.django.closing import await_close, await_dropped
from prom_middleware.django.requests import Handled, server_request
from prom_middleware.instrumentation import (
    COMPLETE,
    DISCONNECT,
    ERROR,
    STATUSES,
    status_label,
)
from prom_middleware.instrumentation.cancelling import is_cancelled
from prom_middleware.instrumentation.tracing import TRACING
from prom_middleware.wsgi.files import SentFile
from prom_middleware.wsgi.sending import send_failed
from prom_middleware.wsgi.watching import Watched, is_to_be_told

if TYPE_CHECKING:
    Sender = ref[Any]


def observe_response(observation: Handled, response: Any, outermost: bool) -> None:
    """Have `response` tell `observation` of its bytes and its end; never raises.

    Middleware further out than what is `outermost` may replace it.
    """
    try:
        code = response.status_code
        observation.status = STATUSES.get(code) or status_label(code)
        try:
            kind = response.headers["Content-Type"]
        except KeyError:
            kind = ""
        # Long enough, with an "e" in its place: that spares nearly all the calls.
        if len(kind) > 16 and kind[5] in "eE":
            observation.note_type(kind)
        context = (core := observation.core).context
        if context() if context is not None else TRACING in core.modules:
            core.exemplars.hold(observation)
        sender = None if observation.wsgi else sending_task()
        if response.streaming:
            closer = _observe_stream(observation, response, sender)
        else:
            if core.promises:
                observation.promise()
            observation.sent = len(response.content)
            closer = Closer()
        closer.observation, closer.sender = observation, sender
        # A file tells while it is open; else what the others do is part of the request.
        closers = response._resource_closers
        closers.insert(0 if isinstance(closer, FileCloser) else len(closers), closer)
        if not outermost:
            await_close(closer)
        elif sender is None and not (observation.wsgi or response.streaming):
            await_dropped(closer)
    except Exception as error:
        if not isinstance(response, HttpResponseBase):  # Django fails with it as well, further out
            observation.finish(ERROR)
            return
        failures.report("response", error)
        observation.discard()


def watch_stream(request: HttpRequest, key: str, response: Any) -> None:
    """Have `response` tell a door further out, if there is one, what its stream raises."""
    try:
        if not response.streaming:
            return
        below = server_request(request)
        outer = below.get(key)
        if outer is None:
            return
        is_file = getattr(response, "file_to_stream", None) is not None  # the server's own to send
        is_wsgi = "REQUEST_METHOD" in below
        if is_wsgi and (is_file or not is_to_be_told(outer)):
            return
        if response.is_async:  # Django hushes up that it was cancelled
            tell = outer.broke if is_wsgi else outer.raised
            response.streaming_content = _telling(response.streaming_content, tell)
        elif is_wsgi:
            response.streaming_content = Watched(response.streaming_content, outer)
    except Exception as error:
        failures.report("response", error)


async def _telling(
    pieces: AsyncIterator[bytes], tell: Callable[[BaseException], object]
) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    except GeneratorExit:
        raise
    except BaseException as error:
        tell(error)
        raise


def _observe_stream(observation: Handled, response: Any, sender: Sender | None) -> Closer:
    # Not the response, which has us: who drops it unclosed would wait for the garbage collector.
    observation.headers = response.headers
    from_file = getattr(response, "file_to_stream", None) is not None
    if from_file and observation.wsgi and "wsgi.file_wrapper" in observation.request.environ:
        return _observe_file(observation, response)
    stream = Stream(observation, response.is_async, sender)
    content = response.streaming_content
    wrapped = stream.pass_async(content) if response.is_async else stream.pass_sync(content)
    response.streaming_content = wrapped
    closer = StreamCloser()
    closer.stream = stream
    return closer


def _observe_file(observation: Handled, response: Any) -> FileCloser:
    # To look at the content would take it from the server's sendfile.
    if observation.core.promises:
        observation.promise()
    file = response.file_to_stream = SentFile(response.file_to_stream)
    file.watch(observation)
    closer = FileCloser()  # last: one that nobody completes would be asked when it goes
    closer.file = file
    return closer


class Closer:
    """What is called at the response's close.

    Django never closes a response whose sending raised (ASGI servers do that when the client is
    gone), nor one that middleware further out replaced: then this goes with the response.
    """

    __slots__ = ("observation", "sender")

    observation: Handled
    sender: Sender | None

    def __call__(self) -> None:
        """Record the end; never raises."""
        try:
            self.end()
        except Exception as error:
            failures.report("finish", error)
            self.observation.discard()

    def end(self) -> None:
        """Record the end."""
        self.observation.finish(DISCONNECT if self.was_left() else COMPLETE)

    def was_left(self) -> bool:
        """Tell whether the client has left while the response was sent."""
        method = self.observation.method
        if self.observation.wsgi:
            return send_failed(method)
        return method != "HEAD" and was_cancelled(self.sender)

    def dropped(self) -> None:
        """Record the end of what was not closed, though the request is over; never raises."""
        self.__del__()

    def __reduce__(self) -> tuple[type, tuple[type]]:
        # Middleware further out may keep the response in a cache. Nothing of ours goes with it, not
        # a name: who reads it need not have us. It is called, as we are, and does nothing.
        return partial, (bool,)

    def __del__(self) -> None:
        try:
            if not self.observation.done:
                self.gone()
        except Exception as error:
            failures.report("finish", error)
            self.observation.discard()

    def gone(self) -> None:
        """Record the end of what was never closed."""
        left = not self.observation.wsgi and not self.was_replaced()
        self.observation.finish(DISCONNECT if left else COMPLETE)

    def was_replaced(self) -> bool:
        """Tell whether middleware further out has sent another response: the task did not fail.

        The thread of a synchronous view may let go of the response after that.
        """
        task = None if self.sender is None else self.sender()
        if task is None or task.cancelled() or was_cancelled(self.sender):
            return False
        return not task.done() or task.exception() is None


class FileCloser(Closer):
    """The same for a file that the server sends by its own wrapper."""

    __slots__ = ("file",)

    file: SentFile

    def end(self) -> None:
        """Record what was sent of it."""
        self.file.tell_the_end()

    def gone(self) -> None:
        """Record the end of what was never closed."""
        self.end()


class StreamCloser(Closer):
    """The same for a streaming response."""

    __slots__ = ("stream",)

    stream: Stream

    def end(self) -> None:
        """Record how it ended."""
        self.stream.end(self.was_left())

    def gone(self) -> None:
        """Record the end; what was iterated comes after the start.

        Of what was iterated last, nobody knows whether it was sent.
        """
        if self.stream.begun and self.observation.method == "HEAD":
            self.observation.left()
        Closer.gone(self)

    def was_replaced(self) -> bool:
        """Tell whether middleware further out has sent another response, and nothing of this."""
        return not self.stream.begun and Closer.was_replaced(self)


class Stream:
    """The pieces of a streaming response on their way to the server."""

    def __init__(self, observation: Handled, asynchronous: bool, sender: Sender | None) -> None:
        self._observation = observation
        self._sender = sender
        # A handler reads a stream of the other kind whole before it sends any of it.
        self._read_ahead = observation.wsgi == asynchronous
        self.begun = self._exhausted = False

    def pass_sync(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield `pieces`, counted."""
        self.begun = True
        try:
            for piece in pieces:
                self._count(piece)
                yield piece
        except BaseException as error:
            self._failed(error)
            raise
        self._read_to_the_end()

    async def pass_async(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield `pieces`, counted."""
        self.begun = True
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
            observation = self._observation
            # One of ASGI has sent the start by then.
            if observation.core.promises and not (self._read_ahead and observation.wsgi):
                observation.promise()
            observation.sent += len(piece)
        except Exception as error:  # a piece without a length is the server's affair
            failures.report("send", error)

    def _read_to_the_end(self) -> None:
        try:
            self._exhausted = True
            # None of what an ASGI handler has read ahead is sent to a client that is gone.
            if was_cancelled(self._sender):
                self._observation.sent = 0
        except Exception as error:
            failures.report("send", error)

    def _failed(self, error: BaseException) -> None:
        try:
            if isinstance(error, GeneratorExit):
                return  # closed by the server: `end` says what that means
            observation = self._observation
            if self._read_ahead:
                observation.sent = 0
            if client_left(observation, error):
                observation.left()
            if observation.wsgi and not observation.sent:
                observation.status = None  # PEP 3333: no header was sent, the server answers 500
            observation.failed(error)
        except Exception as failure:
            failures.report("finish", failure)
            self._observation.discard()

    def end(self, left: bool) -> None:
        """Record the end, at the response's close."""
        whole = not left and (self._exhausted or not self.begun or self._observation.is_whole())
        self._observation.finish(COMPLETE if whole else DISCONNECT)


def client_left(observation: Handled, error: BaseException) -> bool:
    """Tell whether `error` says that the client has left, as far as a middleware can know.

    Django cancels the task of the request then.
    """
    return not observation.wsgi and is_cancelled(error)


def sending_task() -> Sender | None:
    """Return the task that will send the response: Django cancels it when the client has left.

    None where that cannot be told: in the thread of a chain that has middleware which is not
    asynchronous, and before Python 3.11, whose tasks do not tell. Django 6.1 has a TaskGroup, which
    takes the cancellation back before the response is closed: then nobody knows.
    """
    try:
        task: Any = asyncio.current_task()
        return None if task.cancelling() else ref(task)
    except (AttributeError, RuntimeError):
        return None


def was_cancelled(sender: Sender | None) -> bool:
    """Tell whether a task was cancelled since it was asked for."""
    task = None if sender is None else sender()
    return task is not None and task.cancelling() > 0
