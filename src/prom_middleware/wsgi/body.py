"""What stands in the place of an application's body, for the server to iterate and to close."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sized
from typing import TYPE_CHECKING, Any

from prom_middleware import failures
from prom_middleware.instrumentation import COMPLETE

if TYPE_CHECKING:
    from prom_middleware.wsgi.response import Response

CUT = "cut"  # what a body is that was iterated to its length, and not to its end


class Body:
    """An iterable that is its own iterator as well, for servers that do not ask for one."""

    __slots__ = ("pieces",)

    pieces: Iterator[bytes]

    @abstractmethod
    def __iter__(self) -> Iterator[bytes]:
        """Iterate what the server gets."""

    def __next__(self) -> bytes:
        try:
            pieces = self.pieces
        except AttributeError:  # the first time
            pieces = self.pieces = iter(self)
        return next(pieces)


def _iterate(passed_on: PassedOn | Pieces) -> Iterator[bytes]:
    """Yield the pieces of the application's body, and count them."""
    response = passed_on.response
    response.iterated = True
    promises = response.core.promises
    try:
        for piece in response.body:
            if promises and piece:
                response.promise()
            try:
                response.sent += len(piece)
            except Exception as error:
                if isinstance(piece, Sized):  # else the server refuses it, see `Response.stopped`
                    failures.report("send", error)
            try:
                yield piece
            except GeneratorExit:
                response.stopped(piece)
                return
    except BaseException as error:
        response.failed(error)
        raise
    if promises:  # what finds the store taken waits in memory, and the server sends an empty body
        response.promise()
    response.finish(COMPLETE)


def _close(passed_on: PassedOn | Pieces) -> None:
    """Close the application's iterable, once."""
    response = passed_on.response
    body, response.body = response.body, None
    try:
        close = getattr(body, "close", None)
        if close is not None:
            close()
    except BaseException as error:
        response.failed(error)
        raise
    if not response.done:
        response.ended()
    elif response.iterated is CUT:
        response.cut()


class PassedOn(Body):
    """A body that counts what the server gets of it.

    The response does not know what stands here for it, so that no cycle keeps it from its end.
    """

    __slots__ = ("response",)

    response: Response

    # Themselves: no response shall cost two more calls.
    __iter__ = _iterate
    close = _close


class SizedPassedOn(PassedOn):
    """A body that has a length: servers make a Content-Length from a single piece.

    gevent's makes it from all of them, which it adds up while it sends the first.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[bytes]:
        response = self.response
        if response.done or (response.iterated and not response.starts_over()):
            return iter(response.body)
        return _iterate(self)

    def __len__(self) -> int:
        return len(self.response.body)


class Pieces(list[bytes]):
    """A list that a body has in its place: some servers look whether it is one.

    They make a Content-Length from it, as granian does; others see an iterable with a `close`, that
    counts the first time.
    """

    __slots__ = ("response",)

    response: Response

    def __iter__(self) -> Iterator[bytes]:
        response = self.response
        if response.done or (response.iterated and not response.starts_over()):
            return super().__iter__()
        if type(response.body) is list:
            response.body = self.copy()  # what is outside of us may have changed it
        else:  # of a door further in
            response.body[:] = self.copy()
        return _iterate(self)

    def __getitem__(self, index: Any) -> Any:
        # Whoever looks for a piece may leave it at that, as WebOb does where there is only one.
        if not self.response.done:
            self.response.let_go()
        return super().__getitem__(index)

    def __del__(self) -> None:
        # bjoern takes a single piece in C, and drops us: the request ends with its environ.
        try:
            if not self.response.done:
                self.response.let_go()
        except Exception as error:
            failures.report("body", error)

    def __reduce__(self) -> tuple[type, tuple[list[bytes]]]:
        return list, (self.copy(),)  # a copy is of the body alone

    def close(self) -> None:
        """Record the end."""
        if not self.response.done or self.response.iterated is CUT:
            _close(self)
