"""Files in a server's own wrapper: passed on as they are, counted as far as they were sent."""

from __future__ import annotations

import gc
import gzip
import io
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from wsgiref.util import FileWrapper

import pytest
from prometheus_client import CollectorRegistry

from garbage import no_collection
from metrics import collected, in_progress, records, value
from prom_middleware import failures
from prom_middleware.wsgi import PrometheusMiddleware
from wsgi_door.driver import Exchange, call, environ, ignore

Start = Callable[..., Any]
PLAIN = ("Content-Type", "text/plain")
CONTENT = b"0123456789" * 100
SIZE, BLOCK = len(CONTENT), 100


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    return path


class Readable:
    """What PEP 3333 asks of a file: it can be read."""

    def __init__(self, data: bytes = CONTENT) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(size)


class Sends:
    """An application that sends a file, and keeps what it returned for the tests."""

    def __init__(self, file: Any, length: int | None = None) -> None:
        self.file, self.body = file, None
        self.headers = [PLAIN, *([] if length is None else [("Content-Length", str(length))])]

    def __call__(self, env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [*self.headers])
        self.body = env["wsgi.file_wrapper"](self.file, BLOCK)
        return cast("Iterable[bytes]", self.body)


def serve(
    registry: CollectorRegistry, app: Any, wrapper: Any = FileWrapper, **drive: Any
) -> Exchange:
    door = PrometheusMiddleware(app, registry=registry)
    exchange = call(door, environ(**{"wsgi.file_wrapper": wrapper}), **drive)
    assert exchange.error is None
    assert in_progress(registry) == 0
    return exchange


def outcome(registry: CollectorRegistry) -> tuple[str, float]:
    [record] = records(registry)
    return record[4], value(collected(registry), "http_response_body_bytes_total")


def part(path: Path) -> Any:
    file = path.open("rb")
    file.seek(BLOCK)
    return file


def pipe() -> Any:
    reading, writing = os.pipe()
    with open(writing, "wb") as end:
        end.write(CONTENT)
    return open(reading, "rb")


FILES: dict[str, tuple[Callable[[Path], Any], int]] = {
    "file": (lambda path: path.open("rb"), SIZE),
    "part": (part, SIZE - BLOCK),
    "memory": (lambda _: io.BytesIO(CONTENT), SIZE),
    "pipe": (lambda _: pipe(), SIZE),
    "readable": (lambda _: Readable(), SIZE),
}
files = pytest.mark.parametrize(("opened", "size"), FILES.values(), ids=FILES)


@files
@pytest.mark.parametrize("promises", [True, False], ids=["length", "no-length"])
def test_what_was_read_was_sent(
    registry: CollectorRegistry, path: Path, opened: Any, size: int, promises: bool
) -> None:
    app = Sends(opened(path), size if promises else None)
    assert len(serve(registry, app).body) == size
    assert outcome(registry) == ("complete", size)


@files
@pytest.mark.parametrize("promises", [True, False], ids=["length", "no-length"])
def test_a_client_that_leaves(
    registry: CollectorRegistry, path: Path, opened: Any, size: int, promises: bool
) -> None:
    app = Sends(opened(path), size if promises else None)
    serve(registry, app, leave_after=2)
    assert outcome(registry) == ("disconnect", 2 * BLOCK)


@files
def test_a_server_that_knows_the_length_need_not_look_for_the_end(
    registry: CollectorRegistry, path: Path, opened: Any, size: int
) -> None:
    serve(registry, Sends(opened(path), size), leave_after=-(-size // BLOCK))
    assert outcome(registry) == ("complete", size)


def test_a_promise_of_too_much_is_harmless(registry: CollectorRegistry, path: Path) -> None:
    serve(registry, Sends(path.open("rb"), 10 * SIZE), leave_after=SIZE // BLOCK)
    assert outcome(registry) == ("complete", SIZE)


@pytest.mark.parametrize(
    ("start", "length", "sent"),
    [(0, None, SIZE), (BLOCK, None, SIZE - BLOCK), (BLOCK, 50, 50), (BLOCK, SIZE, SIZE - BLOCK)],
)
def test_what_sendfile_sent_is_what_there_was(
    registry: CollectorRegistry, path: Path, start: int, length: int | None, sent: int
) -> None:
    """Neither gunicorn nor uWSGI moves the position of a file that has gone out."""
    file = path.open("rb")
    file.seek(start)
    serve(registry, Sends(file, length), iterate=False)
    assert outcome(registry) == ("complete", sent)


def test_what_was_written_before_a_file_is_part_of_the_answer(
    registry: CollectorRegistry, path: Path
) -> None:
    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [PLAIN])(b"before")
        return cast("Iterable[bytes]", env["wsgi.file_wrapper"](path.open("rb"), BLOCK))

    assert serve(registry, app).body == b"before" + CONTENT
    assert outcome(registry) == ("complete", len(b"before") + SIZE)


def test_what_was_written_before_a_file_that_cannot_be_read_is_counted(
    registry: CollectorRegistry,
) -> None:
    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [PLAIN])(b"before")
        return cast("Iterable[bytes]", env["wsgi.file_wrapper"](Broken(OSError(5)), BLOCK))

    door = PrometheusMiddleware(app, registry=registry)
    exchange = call(door, environ(**{"wsgi.file_wrapper": FileWrapper}))
    assert isinstance(exchange.error, OSError)
    assert outcome(registry) == ("error", len(b"before") + BLOCK)


def test_a_file_that_is_put_back_before_its_start_has_sent_nothing_less(
    registry: CollectorRegistry, path: Path
) -> None:
    door = PrometheusMiddleware(Sends(part(path), SIZE - BLOCK), registry=registry)
    body: Any = door(environ(**{"wsgi.file_wrapper": FileWrapper}), ignore)
    body.filelike.read(1)
    body.filelike.seek(0)
    body.close()
    assert outcome(registry) == ("disconnect", 0)


def test_sendfile_that_breaks_tells_by_the_position(
    registry: CollectorRegistry, path: Path
) -> None:
    """As `socket.sendfile` leaves it."""
    app = Sends(path.open("rb"))
    door = PrometheusMiddleware(app, registry=registry)
    body: Any = door(environ(**{"wsgi.file_wrapper": FileWrapper}), lambda *_: None)
    body.filelike.seek(300)
    body.close()
    assert outcome(registry) == ("disconnect", 300)


@pytest.mark.parametrize(("method", "ended"), [("GET", "disconnect"), ("HEAD", "complete")])
@pytest.mark.parametrize("error", [SystemExit(1), BrokenPipeError()])
def test_sendfile_that_is_broken_off_before_it_returns(
    registry: CollectorRegistry, path: Path, error: BaseException, method: str, ended: str
) -> None:
    """As a worker's own end does: the position is what it was, and the server closes all."""
    door = PrometheusMiddleware(Sends(path.open("rb"), SIZE), registry=registry)
    body: Any = door(environ(method, **{"wsgi.file_wrapper": FileWrapper}), ignore)
    with suppress(BaseException):
        try:
            raise error
        finally:
            body.close()
    assert outcome(registry) == (ended, 0)


@pytest.mark.parametrize("reads", [True, False], ids=["read", "sendfile"])
@pytest.mark.parametrize("promises", [True, False], ids=["length", "no-length"])
@pytest.mark.parametrize("start", [0, BLOCK])
def test_a_file_whose_descriptor_is_put_back(
    registry: CollectorRegistry, path: Path, start: int, promises: bool, reads: bool
) -> None:
    """As gunicorn does after `socket.sendfile`, which is gevent's in its workers of that kind."""
    file, size = path.open("rb"), SIZE - start
    file.seek(start)
    door = PrometheusMiddleware(Sends(file, size if promises else None), registry=registry)
    body: Any = door(environ(**{"wsgi.file_wrapper": FileWrapper}), lambda *_: None)
    sent = body.filelike
    for _ in range(size // BLOCK if reads else 0):
        sent.read(BLOCK)
    sent.seek(SIZE)
    os.lseek(sent.fileno(), start, os.SEEK_SET)
    body.close()
    assert outcome(registry) == ("complete", size)


def test_what_was_only_looked_into_was_not_sent(registry: CollectorRegistry, path: Path) -> None:
    """As waitress does, which goes on from there only after the client has taken it."""
    door = PrometheusMiddleware(Sends(path.open("rb"), SIZE), registry=registry)
    body: Any = door(environ(**{"wsgi.file_wrapper": FileWrapper}), lambda *_: None)
    body.filelike.seek(0, os.SEEK_END)
    body.filelike.seek(0)
    assert body.filelike.read(SIZE) == CONTENT
    body.filelike.seek(0)
    body.close()
    assert outcome(registry) == ("disconnect", 0)


def test_what_is_without_a_descriptor_was_not_sent_unless_it_was_read(
    registry: CollectorRegistry,
) -> None:
    serve(registry, Sends(io.BytesIO(CONTENT), SIZE), iterate=False)
    assert outcome(registry) == ("complete", 0)


class Breaks(io.BytesIO):
    """A file whose `close()` raises, once."""

    closings = 0

    def close(self) -> None:
        self.closings += 1
        super().close()
        if self.closings == 1:
            raise ValueError("close")


@pytest.mark.parametrize("wrapper", [FileWrapper, lambda file, _: file], ids=["class", "function"])
def test_a_file_that_cannot_be_closed(registry: CollectorRegistry, wrapper: Any) -> None:
    file = Breaks(CONTENT)
    door = PrometheusMiddleware(Sends(file), registry=registry)
    body: Any = door(environ(**{"wsgi.file_wrapper": wrapper}), lambda *_: None)
    body.read() if wrapper is not FileWrapper else list(body)
    with pytest.raises(ValueError, match="close"):
        body.close()
    body.close()  # a server at fault closes again
    assert file.closings == 1
    assert records(registry) == [("GET", "<unmatched>", 200, "ValueError", "complete")]


class Broken(io.BytesIO):
    """A file whose second piece cannot be read."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(CONTENT)
        self.error = error

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise self.error
        return super().read(size)


@pytest.mark.parametrize("error", [ValueError("gone"), EOFError(), OSError(5), KeyboardInterrupt()])
@pytest.mark.parametrize("wrapper", [FileWrapper, lambda file, _: file], ids=["class", "function"])
def test_a_file_that_cannot_be_read(
    registry: CollectorRegistry, wrapper: Any, error: BaseException
) -> None:
    door = PrometheusMiddleware(Sends(Broken(error)), registry=registry)
    body: Any = door(environ(**{"wsgi.file_wrapper": wrapper}), lambda *_: None)
    with pytest.raises(type(error)):
        list(body) if wrapper is FileWrapper else [body.read(BLOCK) for _ in range(2)]
    body.close()
    assert records(registry) == [("GET", "<unmatched>", 200, type(error).__name__, "error")]
    assert value(collected(registry), "http_response_body_bytes_total") == BLOCK


def test_a_file_that_cannot_be_read_does_not_wait_for_the_garbage_collector(
    registry: CollectorRegistry,
) -> None:
    """Whoever gets the error may drop the body without closing it."""

    class Fails(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ValueError

    file = Fails()
    gone = weakref.ref(file)
    with no_collection():
        door = PrometheusMiddleware(Sends(file), registry=registry)
        body: Any = door(environ(**{"wsgi.file_wrapper": FileWrapper}), lambda *_: None)
        with suppress(ValueError):
            list(body)
        door.app.body = door.app.file = None  # type: ignore[attr-defined]
        del file, body
        assert gone() is None
    assert records(registry) == [("GET", "<unmatched>", 500, "ValueError", "error")]


def test_a_file_that_has_nothing_yet(registry: CollectorRegistry) -> None:
    class Slow(io.BytesIO):
        tried = False

        def read(self, size: int | None = -1, /) -> bytes:
            if not self.tried:
                self.tried = True
                raise BlockingIOError
            return super().read(size)

    door = PrometheusMiddleware(Sends(Slow(CONTENT)), registry=registry)
    body: Any = door(environ(**{"wsgi.file_wrapper": lambda file, _: file}), lambda *_: None)
    with suppress(BlockingIOError):
        body.read()
    assert body.read() == CONTENT
    body.close()
    assert outcome(registry) == ("complete", SIZE)


def test_a_truncated_archive_whose_end_is_sought(registry: CollectorRegistry) -> None:
    """As waitress does, which answers 500 then."""
    broken = gzip.compress(os.urandom(10 * SIZE))[:-SIZE]
    door = PrometheusMiddleware(Sends(gzip.GzipFile(fileobj=io.BytesIO(broken))), registry=registry)
    body: Any = door(environ(**{"wsgi.file_wrapper": lambda file, _: file}), lambda *_: None)
    with pytest.raises(EOFError):
        body.seek(10 * SIZE)
    body.close()
    assert records(registry) == [("GET", "<unmatched>", 500, "EOFError", "error")]


def test_a_truncated_archive_is_an_error(registry: CollectorRegistry, path: Path) -> None:
    """Of which nobody knows where it ends: zlib, too, has exceptions of its own."""
    broken = gzip.compress(os.urandom(10 * SIZE))[:-SIZE]
    app = Sends(gzip.GzipFile(fileobj=io.BytesIO(broken)))
    door = PrometheusMiddleware(app, registry=registry)
    body: Any = door(environ(**{"wsgi.file_wrapper": FileWrapper}), lambda *_: None)
    with pytest.raises(EOFError):
        list(body)
    body.close()
    assert records(registry) == [("GET", "<unmatched>", 200, "EOFError", "error")]


def test_a_server_that_finds_out_whether_a_file_can_be_sought(
    registry: CollectorRegistry,
) -> None:
    body: Any = PrometheusMiddleware(Sends(pipe()), registry=registry)(
        environ(**{"wsgi.file_wrapper": lambda file, _: file}), lambda *_: None
    )
    with pytest.raises(OSError, match="seek"):
        body.seek(0)
    assert body.read() == CONTENT
    assert body.read() == b""
    body.close()
    assert outcome(registry) == ("complete", SIZE)


class Spooled:
    """A file as `tempfile` makes it before Python 3.11: it has a position, and does not say so."""

    def __init__(self) -> None:
        file = io.BytesIO(CONTENT)
        self.read, self.seek, self.tell, self.close = file.read, file.seek, file.tell, file.close


def test_a_file_that_does_not_say_whether_it_has_a_position(registry: CollectorRegistry) -> None:
    serve(registry, Sends(Spooled()), leave_after=SIZE // BLOCK)
    assert outcome(registry) == ("complete", SIZE)


# Wrappers that are no classes: uWSGI's returns the file, mod_wsgi's is a method.


class Server:
    """As uWSGI: it knows the file that it wrapped, and reads that."""

    known: Any = None

    def wrap(self, file: Any, size: int = 8192) -> Any:
        self.known = file
        return file

    def send(self, app: Any, *, to: list[bytes]) -> None:
        result = app(environ(**{"wsgi.file_wrapper": self.wrap}), lambda *_: to.append)
        try:
            pieces = iter(lambda: result.read(BLOCK), b"") if result is self.known else result
            to.extend(pieces)
        finally:
            getattr(result, "close", int)()


@files
def test_a_wrapper_that_returns_the_file(
    registry: CollectorRegistry, path: Path, opened: Any, size: int
) -> None:
    sent: list[bytes] = []
    file = opened(path)
    Server().send(PrometheusMiddleware(Sends(file), registry=registry), to=sent)
    assert len(b"".join(sent)) == size
    assert outcome(registry) == ("complete", size)
    assert getattr(file, "closed", True)


class Looks(Sends):
    """An application that reads the beginning of what uWSGI's wrapper returned."""

    def __call__(self, env: dict[str, Any], start: Start) -> Iterable[bytes]:
        body: Any = super().__call__(env, start)
        body.read(BLOCK)
        body.seek(BLOCK)
        self.file.seek(0)
        return cast("Iterable[bytes]", body)


@pytest.mark.parametrize("reads", [True, False], ids=["read", "sendfile"])
def test_what_the_application_reads_is_not_sent(
    registry: CollectorRegistry, path: Path, reads: bool
) -> None:
    door = PrometheusMiddleware(Looks(path.open("rb"), SIZE), registry=registry)
    body: Any = door(environ(**{"wsgi.file_wrapper": lambda file, _: file}), lambda *_: None)
    if reads:
        body.read(2 * BLOCK)
    body.close()
    expected = ("disconnect", 2 * BLOCK) if reads else ("complete", SIZE)
    assert outcome(registry) == expected


def test_each_door_counts_a_file(path: Path) -> None:
    inner, outer = CollectorRegistry(), CollectorRegistry()
    for wrapper in (FileWrapper, Server().wrap):
        app = PrometheusMiddleware(Sends(path.open("rb")), registry=inner)
        door = PrometheusMiddleware(app, registry=outer)
        body: Any = door(environ(**{"wsgi.file_wrapper": wrapper}), lambda *_: None)
        body.close()  # sent by sendfile
    for registry in (inner, outer):
        assert len(records(registry)) == 2
        assert value(collected(registry), "http_response_body_bytes_total") == 2 * SIZE


@pytest.mark.parametrize("wrapper", [FileWrapper, lambda file, _: file], ids=["class", "function"])
def test_each_door_knows_how_far_a_file_came(path: Path, wrapper: Any) -> None:
    inner, outer = CollectorRegistry(), CollectorRegistry()
    app = PrometheusMiddleware(Sends(path.open("rb")), registry=inner)
    door = PrometheusMiddleware(app, registry=outer)
    body: Any = door(environ(**{"wsgi.file_wrapper": wrapper}), lambda *_: None)
    getattr(body, "filelike", body).read(BLOCK)
    body.close()
    for registry in (inner, outer):
        assert outcome(registry) == ("disconnect", BLOCK)


def test_a_file_that_is_not_the_response_is_left_alone(
    registry: CollectorRegistry, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "_counts", {})

    def upper(app: Any) -> Any:
        def middleware(env: dict[str, Any], start: Start) -> Iterator[bytes]:
            body = app(env, start)
            for line in body:
                yield line.upper()
            body.close()
            yield b"more"

        return middleware

    sent: list[bytes] = []
    door = PrometheusMiddleware(upper(Sends(path.open("rb"))), registry=registry)
    Server().send(door, to=sent)
    assert b"".join(sent) == CONTENT + b"more"
    assert outcome(registry) == ("complete", SIZE + 4)
    assert failures.counts() == {}


def test_a_method_that_wraps(registry: CollectorRegistry, path: Path) -> None:
    app = Sends(path.open("rb"))
    exchange = serve(registry, app, lambda file, size: FileWrapper(file, size))
    assert exchange.result is app.body
    assert exchange.body == CONTENT
    assert outcome(registry) == ("complete", SIZE)


class Hidden:
    """A wrapper that shows nothing of its file, as those made in C."""

    __slots__ = ("_file",)

    def __init__(self, file: Any, block_size: int) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self._file.read(BLOCK), b"")


class Fixed(Hidden):
    """A wrapper on which nothing can be set, and that has no `close()`."""

    __slots__ = ()

    @property
    def filelike(self) -> Any:
        return self._file


@pytest.mark.parametrize("wrapper", [Hidden, Fixed])
def test_a_wrapper_that_nobody_can_look_into(
    registry: CollectorRegistry, wrapper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "_counts", {})
    assert serve(registry, Sends(io.BytesIO(CONTENT), SIZE), wrapper).body == CONTENT
    assert outcome(registry) == ("complete", SIZE)
    assert failures.counts() == {}


@pytest.mark.parametrize("wrapper", [FileWrapper, lambda file, _: file], ids=["class", "function"])
def test_a_file_does_not_wait_for_the_garbage_collector(
    registry: CollectorRegistry, path: Path, wrapper: Any
) -> None:
    file = path.open("rb")
    gone = weakref.ref(file)
    door = PrometheusMiddleware(Sends(file), registry=registry)
    gc.disable()
    try:
        call(door, environ(**{"wsgi.file_wrapper": wrapper}))
        del file
        door.app = cast("Any", None)
        assert gone() is None
    finally:
        gc.enable()
