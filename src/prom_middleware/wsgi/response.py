"""The response: its start, its body, and its end.

PEP 3333: the headers go out with the first non-empty piece of the body, or with the first `write`,
even of nothing. An exception before that makes the server answer 500, whatever `start_response`
was told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from typing import TYPE_CHECKING, Any

from prom_middleware import failures
from prom_middleware.instrumentation import (
    COMPLETE,
    DISCONNECT,
    OTHER,
    STATUSES,
    Observation,
    status_label,
)
from prom_middleware.instrumentation.rare import content_length
from prom_middleware.instrumentation.tracing import TRACING
from prom_middleware.wsgi.body import CUT, PassedOn, Pieces, SizedPassedOn
from prom_middleware.wsgi.sending import send_failed

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    Headers = list[tuple[str, str]]
    Name = Callable[[Observation, WSGIEnvironment], None]

_CONTENT_TYPE = "Content-Type"  # as nearly all spell it
_BYTES = (bytes, bytearray, memoryview)  # some servers take the like of bytes
_CODES = frozenset(STATUSES.values())
_UWSGI = "uwsgi.version"  # in the environ


class Response(Observation):
    """An observation that stands between an application and its server.

    It takes the place of `start_response` and of the `write` that this returns. What takes that of
    the body is no part of it: this one stands in the environ, of which others look into each value.
    """

    __slots__ = (
        "body",
        "headers",
        "iterated",
        "name",
        "path",
        "root",
        "server",
        "wrapper",
        "writer",
        "written",
    )

    calls = True

    # Set by the door: `start_response`, the server's file wrapper, what names the route when a
    # response starts, and where the door stands.
    server: Any
    wrapper: Any
    name: Name | None
    root: str
    path: str
    iterated: bool | str

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Any:
        """Call the server's, and note what it accepted."""
        if exc_info is None:
            self.writer = self.server(status, headers)
        else:
            self.writer = self.server(status, headers, exc_info)
        write = self.writer if self.writer is None else self.write  # granian has none
        try:
            if self.status is not None:
                if self._headers_are_out():  # a lenient server: it has changed nothing
                    return write
                self.forget_start()
            code = status.partition(" ")[0]
            self.status = code if code in _CODES else _unusual(code)
            self.headers = headers
            for name, value in headers:
                if name == _CONTENT_TYPE or (len(name) == 12 and name.lower() == "content-type"):
                    # Long enough, with an "e" in the right place: that spares nearly all the call.
                    if len(value) > 16 and value[5] in "eE":
                        self.note_type(value)
                    break
            if self.name is not None and not self.done:
                self.name(self, self.request)
            core = self.core
            # A span further in ends before the body is iterated.
            context = core.context
            if context() if context is not None else TRACING in core.modules:
                core.exemplars.hold(self)
        except Exception as error:
            failures.report("start_response", error)
        return write

    def write(self, data: bytes) -> None:
        """Call the server's `write`, and count."""
        if self.core.promises:
            self.promise()
        try:
            self.writer(data)
        except OSError:
            self._broken_off()
            raise
        self.written = True
        self.count(data)

    def _broken_off(self) -> None:
        """Record that the client is gone; the application may make light of it."""
        try:
            if not self._headers_are_out():
                self.forget_start()
            self.finish(DISCONNECT)
        except Exception as error:
            failures.report("finish", error)

    def _headers_are_out(self) -> bool:
        return self.sent > 0 or getattr(self, "written", False)

    def count(self, data: bytes) -> None:
        """Count a piece of the body."""
        try:
            self.sent += len(data)
        except Exception as error:
            failures.report("send", error)

    def failed(self, error: BaseException) -> None:
        """Record that the application raised."""
        try:
            if not self.done and not self._headers_are_out():
                self.status = None
            Observation.failed(self, error)
        except Exception as failure:
            failures.report("finish", failure)
            self.discard()

    def pass_on(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return what the server gets in the place of `body`."""
        try:
            if self.done:  # a scrape, further in
                return body
            self.iterated = False
            self.body: Any = body
            if type(body) is list:
                pieces = Pieces(body)
                pieces.response = self
                return pieces
            wrapper = self.wrapper
            if wrapper is not None and (
                isinstance(body, wrapper)
                if isinstance(wrapper, type)
                else getattr(wrapper, "body", self) is body
            ):
                self.body = None  # it holds us: without the cycle, it need not wait for the GC
                if self.core.promises:
                    self.promise()
                from prom_middleware.wsgi.files import watch_file  # loaded with the door

                watch_file(self, body, wrapper)
                return body
            if hasattr(body, "__len__"):
                return self._sized(body)
            if hasattr(body, "__iter__") or hasattr(body, "__getitem__"):
                iterable = PassedOn()
                iterable.response = self
                return iterable
            return self.give_back(body)
        except Exception as error:
            failures.report("body", error)
            self.finish(COMPLETE)
            return body

    def __del__(self) -> None:
        # A test client, or a server at fault, drops the body without closing it.
        try:
            if not self.done:
                if isinstance(self.body, list) and not self.iterated:  # read where it lies, in C
                    self.sent += sum(map(len, self.body))
                self.ended()
        except Exception as error:
            failures.report("finish", error)

    def stopped(self, piece: object) -> None:
        """Note that the server has enough: `close` says what that means, unless it has it all.

        Where it stopped at a piece that is not of bytes, it has refused it. asgiref's adapter stops
        at the Content-Length, and closes nothing. Nor does werkzeug's debugger where the client
        leaves, whose cycle of the environ is not to keep us.
        """
        try:
            environ = self.request
            if not isinstance(piece, _BYTES):
                self._refused(piece)
            elif self.is_whole():
                self.finish(COMPLETE)
                self.iterated = CUT  # by what broke it off, maybe: nobody sees that before `close`
            self.let_go()
            if environ is not None and not self.done:
                environ.pop(self.core.key, None)
        except Exception as error:
            failures.report("finish", error)

    def _refused(self, piece: object) -> None:
        if isinstance(piece, Sized):
            self.sent -= len(piece)
        self.failed(TypeError(f"a piece of the body is {type(piece).__name__!r}, not bytes"))

    def let_go(self) -> None:
        """Leave the request: who never closes us drops us, and a cycle would wait for the GC."""
        try:
            self._labels = self._labels or self.labels()
            self.request = None
        except Exception as error:
            failures.report("finish", error)

    def ended(self) -> None:
        """Record the end of a body that was closed or dropped."""
        try:
            # A server need not iterate what it does not send, nor look for an end that it knows.
            self.end(not send_failed(self.method) and (not self.iterated or self.is_whole()))
        except Exception as error:
            failures.report("finish", error)
            self.discard()

    def cut(self) -> None:
        """Record that the client has left, if the close of a body that was cut tells so."""
        try:
            self.iterated = True  # the first close tells, what comes later is of something else
            if send_failed(self.method):
                self.core.recorder.abort(self._labels or self.labels(), DISCONNECT)
        except Exception as error:
            failures.report("finish", error)

    def end(self, whole: bool) -> None:
        """Record the end; who has not got the whole of a response that began has left."""
        self.finish(COMPLETE if whole or self.status is None else DISCONNECT)

    def _sized(self, body: Iterable[bytes]) -> Iterable[bytes]:
        kind: type = type(body)
        if kind is bytes:  # uWSGI takes it in one piece, others find integers in it
            return self.give_back(body)
        if isinstance(body, Pieces):  # of a door further in
            pieces = Pieces(body.copy())
            pieces.response = self
            return pieces
        sized = SizedPassedOn()
        sized.response = self
        return sized

    def give_back(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return what is no iterable of bytes: the server knows it, or raises without us, too."""
        kind: type = type(body)
        if kind is bytes and (not body or _UWSGI in self.request):
            self.sent += len(self.body)
            self.finish(COMPLETE)
        elif kind is not object:
            self.failed(TypeError(f"{kind.__name__!r} object is no iterable of bytes"))
        elif self.status is None:  # gunicorn's sentinel: the application has taken the socket
            self.discard()
        else:
            self.finish(COMPLETE)
        return body

    def starts_over(self) -> bool:
        """Tell whether a body that was iterated is to be counted again.

        Somebody has only looked into it then, and let go.
        """
        if self.request is not None:
            return False
        self.sent = 0
        return True

    def promised_length(self) -> int | None:
        """Return how long the headers say the body is; a wrong promise is harmless."""
        for name, value in getattr(self, "headers", ()):
            if name.lower() == "content-length":
                return content_length(value)
        return None


def _unusual(code: str) -> str:
    # PEP 3333 wants a blank behind it; what else is there, servers send as it is.
    digits = code[: len(code) - len(code.lstrip("0123456789"))]
    return status_label(digits) if len(digits) == 3 else OTHER
