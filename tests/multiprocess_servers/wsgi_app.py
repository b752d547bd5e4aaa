"""A small WSGI application whose workers are killed; it is imported in no time."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator
from typing import Any

import patience  # noqa: F401

from prom_middleware import instrument


def items(environ: dict[str, Any]) -> Iterable[bytes]:
    return [b"%d end" % os.getpid()]


def echo(environ: dict[str, Any]) -> Iterable[bytes]:
    return [environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])), b"end"]


def stream(environ: dict[str, Any]) -> Iterator[bytes]:
    for number in range(3):
        yield b"%d\n" % number
    yield b"end"


def file(environ: dict[str, Any]) -> Iterable[bytes]:
    opened: Iterable[bytes] = environ["wsgi.file_wrapper"](open(__file__, "rb"))  # noqa: SIM115
    return opened


def nothing(environ: dict[str, Any]) -> Iterable[bytes]:
    return []


PAGES = {
    "/items": ("200 OK", items),
    "/echo": ("200 OK", echo),
    "/stream": ("200 OK", stream),
    "/file": ("200 OK", file),
    "/empty": ("204 No Content", nothing),
}


# Where the server could not tell a client where the body ends.
LENGTHS = {nothing: 0, file: os.path.getsize(__file__)}


def pages(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    status, page = PAGES.get(environ["PATH_INFO"], ("404 Not Found", nothing))
    length = LENGTHS.get(page) if not status.startswith("204") else None
    start_response(status, [("Content-Length", str(length))] if length is not None else [])
    return page(environ)


# A server without a framework has no routes.
app = instrument(pages, labels={"page": lambda facts: facts.path})
# As is advised where workers are forked: no collection in one of them touches what all share.
gc.freeze()
