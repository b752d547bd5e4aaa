"""A small Twisted site that serves itself: `python twisted_app.py PORT`."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor, task
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from prom_middleware import instrument

PIECES, PAUSE = 5, 0.1


class Page(Resource):
    isLeaf = True  # noqa: N815 - the name is Twisted's

    def render_GET(self, request: Any) -> bytes:
        return b"a page"


class Echo(Page):
    def render_POST(self, request: Any) -> bytes:
        return request.content.read()  # type: ignore[no-any-return]


class Users(Resource):
    def getChild(self, path: bytes, request: Any) -> Resource:
        return Page() if path.isdigit() else super().getChild(path, request)


class Boom(Page):
    def render_GET(self, request: Any) -> bytes:
        raise ValueError("boom")


class Stream(Page):
    """Write a piece after each pause; with no end where `pieces` is None."""

    def __init__(self, pieces: int | None) -> None:
        super().__init__()
        self.pieces = pieces

    def render_GET(self, request: Any) -> Any:
        self.write_later(request, 0)
        return NOT_DONE_YET

    def write_later(self, request: Any, number: int) -> None:
        if number == self.pieces:
            request.finish()
            return
        waiting = task.deferLater(reactor, PAUSE, self.write, request, number)
        request.notifyFinish().addErrback(lambda _: waiting.cancel())
        waiting.addErrback(lambda failure: failure.trap("twisted.internet.defer.CancelledError"))

    def write(self, request: Any, number: int) -> None:
        request.write(b"%d\n" % number)
        self.write_later(request, number + 1)


root = Resource()
for name, child in {
    b"": Page(),
    b"users": Users(),
    b"echo": Echo(),
    b"boom": Boom(),
    b"stream": Stream(PIECES),
    b"endless": Stream(None),
}.items():
    root.putChild(name, child)

reactor.listenTCP(int(sys.argv[1]), instrument(root), interface="127.0.0.1")
reactor.run()
