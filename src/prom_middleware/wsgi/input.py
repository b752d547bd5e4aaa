"""The request's body, counted as the application reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from prom_middleware import failures

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, WSGIEnvironment

    from prom_middleware.instrumentation import Observation


# The protocols of a body that no header announces: it comes in frames (RFC 9113, RFC 9114). By the
# names that WSGI and ASGI have for them.
FRAMED = frozenset(("HTTP/2", "HTTP/2.0", "HTTP/3", "HTTP/3.0", "2", "3"))


def observe_input(environ: WSGIEnvironment, observation: Observation) -> None:
    """Put a counting stream in the place of `wsgi.input`."""
    environ["wsgi.input"] = CountedInput(environ["wsgi.input"], observation)


# Beyond PEP 3333, what streams of real servers have and applications use where it is there.
ALSO_READ = frozenset({"read1", "readall", "readinto", "readinto1"})


class CountedInput:
    """A stream that counts what is read; whatever else it is asked, the real one answers."""

    def __init__(self, stream: InputStream, observation: Observation) -> None:
        self._stream = stream
        self._observation = observation
        self._again = 0  # how far the position is behind the furthest that was read

    def read(self, *size: int, **named: int) -> bytes:
        """Read as the stream does."""
        return self._counted(self._stream.read(*size, **named))  # type: ignore[no-any-return]

    def readline(self, *size: int, **named: int) -> bytes:
        """Read a line as the stream does."""
        return self._counted(self._stream.readline(*size, **named))  # type: ignore[no-any-return]

    def readlines(self, *hint: int, **named: int) -> list[bytes]:
        """Read lines as the stream does."""
        return [self._counted(line) for line in self._stream.readlines(*hint, **named)]

    def __next__(self) -> bytes:
        line: bytes = self._counted(next(self._stream))  # type: ignore[call-overload]
        return line

    def __iter__(self) -> Iterator[bytes]:
        return map(self._counted, iter(self._stream))

    def __enter__(self) -> CountedInput:
        # As a `with` statement does: by the class, and with its error where that has none.
        ExitStack().enter_context(self._stream)  # type: ignore[arg-type]
        return self

    def __exit__(self, *raised: Any) -> bool | None:
        return self._stream.__exit__(*raised)  # type: ignore[attr-defined, no-any-return]

    def __reduce_ex__(self, _: object) -> tuple[Any, ...]:
        # A copy is one of the stream: what somebody reads of it is not counted twice.
        return _itself, (copy(self._stream),)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._stream, name)
        if name == "seek":
            return partial(self._seek, attribute)
        if name not in ALSO_READ:
            return attribute
        return lambda *size, **named: self._counted(attribute(*size, **named))

    def _counted(self, data: Any) -> Any:
        try:
            # What is neither bytes nor a number of them is the application's affair, not ours.
            size = len(data) if isinstance(data, bytes) else data if isinstance(data, int) else 0
            if self._again and size:
                self._again, size = max(self._again - size, 0), max(size - self._again, 0)
            self._observation.received += size
        except Exception as error:
            failures.report("receive", error)
        return data

    def _seek(self, seek: Callable[..., Any], *place: int, **named: int) -> Any:
        before = self._position()
        found = seek(*place, **named)
        after = self._position()
        if before is not None and after is not None:
            self._again += before - after
        return found

    def _position(self) -> int | None:
        try:
            return int(self._stream.tell())  # type: ignore[attr-defined]
        except Exception:  # some can seek and do not tell: what they read again is counted again
            return None


def _itself(stream: InputStream) -> InputStream:
    return stream
