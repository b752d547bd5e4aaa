"""A small WSGI application for real servers to serve."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flask import Flask, Response, request

from prom_middleware import instrument

PIECES, PAUSE = 5, 0.1
LARGE = 50_000_000  # more than a socket keeps
app = Flask(__name__)


@app.route("/")
def home() -> str:
    return "home"


@app.route("/users/<int:id>")
def user(id: int) -> str:  # noqa: A002
    return str(id)


@app.route("/echo", methods=["POST"])
def echo() -> bytes:
    return request.get_data()


@app.route("/boom")
def boom() -> str:
    raise ValueError("boom")


@app.route("/stream")
def stream() -> Response:
    def pieces() -> Iterator[bytes]:
        for number in range(PIECES):
            time.sleep(PAUSE)
            yield b"%d\n" % number

    return Response(pieces())


@app.route("/large")
def large() -> bytes:
    return bytes(LARGE)


@app.route("/endless")
def endless() -> Response:
    def pieces() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536
            time.sleep(0.02)

    return Response(pieces())


app = instrument(app)
