"""A small project in Django whose workers are killed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import patience  # noqa: F401
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["prom_middleware.django"],
    PROM_MIDDLEWARE={"labels": {"page": lambda facts: facts.path}},
    ROOT_URLCONF=__name__,
    SECRET_KEY="for the tests only",
)


async def items(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{os.getpid()} end")


async def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body)


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d\n" % number
        yield b"end"

    return StreamingHttpResponse(pieces())


async def file(request: HttpRequest) -> FileResponse:
    return FileResponse(open(__file__, "rb"))


async def empty(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


urlpatterns = [
    path("items", items),
    path("echo", echo),
    path("stream", stream),
    path("file", file),
    path("empty", empty),
]
app = get_asgi_application()
