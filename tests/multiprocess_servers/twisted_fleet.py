"""Processes that serve one Twisted site: each accepts from a socket that was there before them.

python twisted_fleet.py PORT PROCESSES
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import patience  # noqa: F401
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import File


class Items(Resource):
    def render_GET(self, request: Any) -> bytes:
        return b"%d end" % os.getpid()


class Echo(Resource):
    def render_POST(self, request: Any) -> bytes:
        body: bytes = request.content.read()
        return body


class Stream(Resource):
    def render_GET(self, request: Any) -> int:
        self._send(request, [b"0\n", b"1\n", b"2\n", b"end"])
        return NOT_DONE_YET

    def _send(self, request: Any, pieces: list[bytes]) -> None:
        from twisted.internet import reactor

        request.write(pieces[0])
        if pieces[1:]:
            reactor.callLater(0, self._send, request, pieces[1:])
        else:
            request.finish()


class Empty(Resource):
    def render_GET(self, request: Any) -> bytes:
        request.setResponseCode(204)
        return b""


def root() -> Resource:
    pages = {
        b"items": Items(),
        b"echo": Echo(),
        b"stream": Stream(),
        b"file": File(__file__),
        b"empty": Empty(),
    }
    top = Resource()
    for name, page in pages.items():
        top.putChild(name, page)
    return top


def main(port: int, number: int) -> None:
    listening = socket.create_server(("127.0.0.1", port))
    listening.setblocking(False)  # Twisted accepts until there is nobody left
    for _ in range(number):
        begin(listening)
    while True:
        os.wait()
        begin(listening)


def begin(listening: socket.socket) -> None:
    if not os.fork():
        serve(listening)
        os._exit(0)


def serve(listening: socket.socket) -> None:
    # Whoever imports the reactor makes it, and it must not be shared with a parent.
    from twisted.internet import reactor

    from prom_middleware import instrument

    site = instrument(root(), labels={"page": lambda facts: facts.path})
    reactor.adoptStreamPort(listening.fileno(), socket.AF_INET, site)
    reactor.run()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
