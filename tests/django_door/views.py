"""The views, and the middleware that stands behind ours."""

from __future__ import annotations

import asyncio
import io
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_GET

FILE = b"0123456789" * 5000
WAITING = threading.Event()  # set when a view waits for its client to leave


def sync_only(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        if "mwboom" in request.GET:
            raise KeyError("in a middleware")
        return get_response(request)

    return middleware


def refuses(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    return lambda request: HttpResponse("refused", status=401)


def other_urls(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        request.urlconf = "django_door.other_urls"  # type: ignore[attr-defined]
        return get_response(request)

    return middleware


def tenants(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        request.path_info = request.path_info.removeprefix("/acme")
        return get_response(request)

    return middleware


def root(request: HttpRequest, **_: Any) -> HttpResponse:
    return HttpResponse("root")


def positional(request: HttpRequest, *_: Any) -> HttpResponse:
    return HttpResponse("root")


def user(request: HttpRequest, id: int) -> HttpResponse:  # noqa: A002
    return HttpResponse(f"{id} {len(request.body)}")


async def async_user(request: HttpRequest, id: int) -> HttpResponse:  # noqa: A002
    await asyncio.sleep(0)
    return HttpResponse(f"{id} {len(request.body)}")


@require_GET
def only(request: HttpRequest) -> HttpResponse:
    return HttpResponse("only")


def missing(request: HttpRequest) -> HttpResponse:
    raise Http404


def boom(request: HttpRequest) -> HttpResponse:
    raise ValueError("boom")


async def async_boom(request: HttpRequest) -> HttpResponse:
    raise ValueError("boom")


def leave(request: HttpRequest) -> HttpResponse:
    raise SystemExit(3)


def post_size(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(len(request.POST.get("field", ""))))


def read_lines(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(sum(len(line) for line in request)))


def no_read(request: HttpRequest) -> HttpResponse:
    return HttpResponse("not read")


def pieces() -> Iterator[bytes]:
    yield b"one"
    yield b"two"


async def async_pieces() -> AsyncIterator[bytes]:
    yield b"one"
    await asyncio.sleep(0)
    yield b"two"


def breaking() -> Iterator[bytes]:
    yield b"one"
    raise ValueError("midway")


async def async_breaking() -> AsyncIterator[bytes]:
    yield b"one"
    raise ValueError("midway")


async def waiting() -> AsyncIterator[bytes]:
    yield b"one"
    WAITING.set()
    await asyncio.sleep(30)


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(pieces())


def slow_pieces() -> Iterator[bytes]:
    WAITING.set()
    yield b"one"
    time.sleep(0.2)  # the client leaves here
    yield b"two"


def slow_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(slow_pieces())


def async_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(async_pieces())


def stream_boom(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(breaking())


def async_stream_boom(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(async_breaking())


def events(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(pieces(), content_type="text/event-stream")


def no_events() -> Iterator[bytes]:
    raise ConnectionError("no events")
    yield b""


def events_boom(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(no_events(), content_type="text/event-stream")


def waiting_stream(request: HttpRequest) -> StreamingHttpResponse:
    length = request.GET.get("length")
    headers = {} if length is None else {"Content-Length": length}
    return StreamingHttpResponse(waiting(), headers=headers)


async def cancelled() -> AsyncIterator[bytes]:
    yield b"one"
    task = asyncio.create_task(asyncio.sleep(30))
    task.cancel()
    await task


async def cancelled_task(request: HttpRequest) -> HttpResponse:
    async for _ in cancelled():
        pass
    return HttpResponse("not reached")


def cancelled_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(cancelled())


async def slow(request: HttpRequest) -> HttpResponse:
    WAITING.set()
    await asyncio.sleep(30)
    return HttpResponse("slow")


def file(request: HttpRequest) -> FileResponse:
    opened = tempfile.TemporaryFile()  # noqa: SIM115 - the response closes it
    opened.write(FILE)
    opened.seek(0)
    return FileResponse(opened)


def memory_file(request: HttpRequest) -> FileResponse:
    return FileResponse(io.BytesIO(FILE))


REPLACEMENT = io.BytesIO()


def replaced_by_file(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    return lambda request: FileResponse(REPLACEMENT)
