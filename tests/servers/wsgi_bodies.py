"""Bodies that servers send in ways of their own: below /bare without the door, others with it."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.util import FileWrapper

from prom_middleware.wsgi import PrometheusMiddleware

LINES = b"123456789\n" * 20_000
PART = (1000, 50)  # where a part of the file begins, and how long it is


class WholeFile(io.FileIO):
    """A file that is read in blocks, if at all."""

    def __next__(self) -> bytes:
        raise AssertionError("iterated, line by line")


class Blob:
    """What PEP 3333 asks of a file: it can be read."""

    def __init__(self) -> None:
        self._left = [b"of a ", b"blob"]

    def read(self, size: int = -1) -> bytes:
        return self._left.pop(0) if self._left else b""


class Slice(io.BufferedIOBase):
    """A part of a file without a descriptor or a position, as WhiteNoise's."""

    def __init__(self, file: Any) -> None:
        self._file, self._left = file, PART[1]

    def read(self, size: int | None = -1) -> bytes:
        data: bytes = self._file.read(min(self._left, size or -1) if size != -1 else self._left)
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()


def _file() -> WholeFile:
    with tempfile.NamedTemporaryFile(delete=False) as written:
        written.write(LINES)
    try:
        return WholeFile(written.name)
    finally:
        os.unlink(written.name)


def _part() -> WholeFile:
    file = _file()
    file.seek(PART[0])
    return file


def _pipe() -> Any:
    reading, writing = os.pipe()
    with open(writing, "wb") as end:
        end.write(b"of a pipe")
    return open(reading, "rb")


FILES: dict[str, Callable[[], Any]] = {
    "file": _file,
    "blob": Blob,
    "slice": lambda: Slice(_part()),
    "part": _part,
    "pipe": _pipe,
}
BODIES: dict[str, Callable[[], Iterable[bytes]]] = {
    "list": lambda: [b"of a list"],
    "pieces": lambda: [b"of a ", b"longer ", b"list"],
    "empty": list,
    "tuple": lambda: (b"of a tuple",),
    "generator": lambda: (piece for piece in (b"of a ", b"generator")),
    "bytes": lambda: b"bytes",  # type: ignore[dict-item, return-value]
}
LENGTHS = {"slice": PART[1], "part": PART[1], "file": len(LINES)}


def bodies(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    name = environ["PATH_INFO"].rpartition("/")[2]
    length = [("Content-Length", str(LENGTHS[name]))] if name in LENGTHS else []
    start_response("200 OK", [("Content-Type", "application/octet-stream"), *length])
    if name in FILES:
        wrap = environ.get("wsgi.file_wrapper", FileWrapper)
        return wrap(FILES[name](), 8192)  # type: ignore[no-any-return]
    return BODIES[name]()


door = PrometheusMiddleware(bodies)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    bare = environ["PATH_INFO"].startswith("/bare/")
    return (bodies if bare else door)(environ, start_response)
