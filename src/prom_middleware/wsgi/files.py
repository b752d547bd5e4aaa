"""A file that the server sends by its own wrapper, out of which nothing may be wrapped.

PEP 3333, "Optional Platform-Specific File Handling". The server may give the descriptor to
sendfile: then the file's position tells what was sent, if anything does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from prom_middleware import failures
from prom_middleware.instrumentation import COMPLETE
from prom_middleware.wsgi.sending import send_failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed.wsgi import WSGIEnvironment

    from prom_middleware.wsgi.response import Response

WRAPPER = "wsgi.file_wrapper"
# Where a wrapper keeps its file: in PEP 3333's own example, and in waitress's.
_PLACES = ("filelike", "file")


class Watcher(Protocol):
    """The response that a file is sent for."""

    sent: int
    method: str
    done: bool

    def promised_length(self) -> int | None:
        """Return how long the headers say the body is."""

    def is_whole(self) -> bool:
        """Tell whether as much was sent, or none was to be."""

    def end(self, whole: bool) -> None:
        """Record the end."""

    def discard(self) -> None:
        """Forget it."""

    def failed(self, error: BaseException) -> None:
        """Record that the file could not be read, or closed."""


class SentFile:
    """A file that tells how much of it was sent; whatever else it is asked, the real one answers.

    Only one that `watch` was called for tells anything.
    """

    _start: int | None

    def __init__(self, file: Any) -> None:
        self._file = file
        self._responses: list[Watcher] = []
        self._closed = False
        self._start_over()

    def watch(self, response: Watcher) -> None:
        """Have `response` be recorded when the file is closed."""
        self._responses.append(response)
        self._start_over()  # the application may have looked into what it got
        self._start = self._position()

    def read(self, *size: int, **named: int) -> Any:
        """Read as the file does."""
        try:
            data = self._file.read(*size, **named)
        except BlockingIOError:  # nothing yet: who reads comes again
            raise
        except BaseException as error:
            self._fail(error)
            raise
        self._note(data)
        return data

    def close(self) -> None:
        """Close the file, once where it is a response."""
        responses, self._responses = self._responses, []
        if self._closed:
            return
        self._closed = bool(responses)
        self._end(responses)
        try:
            close = getattr(self._file, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            for response in responses:
                response.failed(error)
            raise

    def tell_the_end(self) -> None:
        """Record the end: the file is about to be closed, by somebody who has it itself."""
        responses, self._responses = self._responses, []
        self._end(responses)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._file, name)
        if name != "seek":
            return found

        def seek(*place: int, **named: int) -> Any:
            self._sought = place[0] if len(place) == 1 else 0
            try:
                return found(*place, **named)
            except OSError:  # the server may only want to know
                raise
            except BaseException as error:
                self._fail(error)
                raise

        return seek

    def _start_over(self) -> None:
        self._start = None
        self._read = self._sought = 0
        self._touched = self._exhausted = False

    def _note(self, data: bytes) -> None:
        try:
            self._touched = True
            self._exhausted = not data
            self._read += len(data)
        except Exception as error:
            failures.report("send", error)

    def _end(self, responses: list[Watcher]) -> None:
        try:
            moved = self._moved()
            for response in responses:
                if not response.done:
                    response.end(self._count(response, moved))
        except Exception as error:
            failures.report("finish", error)
            for response in responses:
                response.discard()

    def _fail(self, error: BaseException) -> None:
        """Record what the file has raised: the application's, whatever the server makes of it."""
        for response in self._responses:
            if not response.done:
                response.sent += self._read
            response.failed(error)

    def _count(self, response: Watcher, moved: int | None) -> bool:
        """Add what was sent, and tell whether that is all."""
        sent = self._read if moved is None else moved
        if not sent and not self._touched:  # by sendfile, or nothing is sent (HEAD)
            # What breaks it off leaves the position where it was; how much is sent, nobody knows.
            if send_failed(response.method, BaseException):
                return False
            response.sent += self._size(response)
            return True
        response.sent += sent
        known = self._exhausted or response.is_whole()
        return known or (moved is not None and self._at_end((self._start or 0) + moved))

    def _moved(self) -> int | None:
        """Return how far the position has moved; None where the file has no position.

        After `socket.sendfile`, which leaves it where that has ended, gunicorn puts the descriptor
        back. The file does not know: gevent's reads it, even.
        """
        end = self._position()
        if end is None or self._start is None:
            return None
        return max(end - self._start, 0) or max(self._sought - self._start, 0)

    def _size(self, response: Watcher) -> int:
        """Return how much there was to send."""
        try:
            left = os.fstat(self._file.fileno()).st_size - (self._start or 0)
        except Exception:  # sendfile cannot have sent it
            return 0
        promised = response.promised_length()
        return left if promised is None else min(left, promised)

    def _at_end(self, end: int) -> bool:
        try:
            if self._position() != end:
                return os.fstat(self._file.fileno()).st_size <= end
            return not self._file.read(1)
        except Exception:
            return False

    def _position(self) -> int | None:
        try:
            # Spooled temporary files of Python 3.10 have no `seekable`.
            seekable = getattr(self._file, "seekable", None)
            return int(self._file.tell()) if seekable is None or seekable() else None
        except Exception:
            return None


class Wrapping:
    """What stands in the place of a wrapper that is a function, and remembers what it returned."""

    body: object
    file: SentFile

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper

    def __call__(self, file: Any, *size: int, **named: int) -> Any:
        """Wrap as the server does."""
        sent = self._sent_file(file)
        body = self._wrapper(sent, *size, **named)
        if sent is not file:
            self.body, self.file = body, sent
        return body

    def _sent_file(self, file: Any) -> Any:
        try:
            return SentFile(file)
        except Exception as error:
            failures.report("body", error)
            return file


def observed_wrapper(environ: WSGIEnvironment) -> Any:
    """Return the server's wrapper, after putting another one in the place of one that is no class.

    That of uWSGI returns the file itself, which the server knows again; mod_wsgi's is a method. So
    nothing tells that something is a file of theirs, unless we see it made.
    """
    wrapper = environ[WRAPPER]
    if not isinstance(wrapper, (type, Wrapping)):
        wrapper = environ[WRAPPER] = Wrapping(wrapper)
    return wrapper


def watch_file(response: Response, body: Any, wrapper: Any) -> None:
    """Record the end of a response when the server closes its own file wrapper."""
    file = _file_of(body) if isinstance(wrapper, type) else wrapper.file
    if file is not None:
        file.watch(response)
        return
    # Made in C as a rule, so that nobody sees what becomes of it.
    response.sent += response.promised_length() or 0
    response.finish(COMPLETE)


def _file_of(body: Any) -> SentFile | None:
    """Return what stands in the place of the file in a wrapper, now if not before."""
    try:
        place = next(place for place in _PLACES if getattr(body, place, None) is not None)
        file = getattr(body, place)
        if isinstance(file, SentFile):
            return file
        sent = SentFile(file)
        setattr(body, place, sent)
        if not hasattr(type(body), "close"):  # else it closes its file
            body.close = sent.close
        return sent
    except (AttributeError, StopIteration, TypeError):
        return None
