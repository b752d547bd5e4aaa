"""A Twisted site with resources behind a password (twisted.web.guard).

    pip install '.[twisted]'
    python examples/twisted/app.py --port 8000
    curl http://127.0.0.1:8000/items/7
    curl -u joe:secret http://127.0.0.1:8000/private/account
    curl http://127.0.0.1:8000/metrics

`instrument(root)` is the one line: it returns the Site to listen with. Twisted has no route
templates; segments that a resource makes up are `{path}`: /items/{path}, /private/{path}.
"""

from __future__ import annotations

import argparse

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet import defer, reactor, task
from twisted.web.guard import BasicCredentialFactory, HTTPAuthSessionWrapper
from twisted.web.resource import IResource, NoResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from prom_middleware import instrument, runtime

ITEMS = 100


class Text(Resource):
    isLeaf = True

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def render_GET(self, request: Request) -> bytes:
        return self.text.encode()


class Items(Resource):
    def getChild(self, path: bytes, request: Request) -> Resource:
        known = path.isdigit() and int(path) < ITEMS
        return Text(f"Item {path.decode()}.\n") if known else NoResource()


class Boom(Resource):
    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        raise RuntimeError("An error that nobody catches.")


class Report(Resource):
    """Answer in chunks: the time that counts is that of the last one."""

    isLeaf = True

    def render_GET(self, request: Request) -> int:
        work = self.rows(request)
        request.notifyFinish().addErrback(lambda _: work.cancel())
        return NOT_DONE_YET

    @defer.inlineCallbacks
    def rows(self, request: Request):
        try:
            for number in range(5):
                yield task.deferLater(reactor, 0.02)
                request.write(f"{number},{number * 100}\n".encode())
            request.finish()
        except defer.CancelledError:
            pass  # the client has left


@implementer(IRealm)
class Realm:
    def requestAvatar(self, name: bytes, mind: object, *interfaces: type) -> tuple:
        private = Resource()
        private.putChild(b"account", Text(f"Account of {name.decode()}.\n"))
        return IResource, private, lambda: None


def root() -> Resource:
    users = InMemoryUsernamePasswordDatabaseDontUse(joe=b"secret")
    guard = HTTPAuthSessionWrapper(Portal(Realm(), [users]), [BasicCredentialFactory(b"shop")])
    top = Resource()
    children = {
        b"": Text("Hello, stranger.\n"),
        b"items": Items(),
        b"private": guard,
        b"boom": Boom(),
        b"report": Report(),
    }
    for segment, child in children.items():
        top.putChild(segment, child)
    return top


site = instrument(root())
runtime.install()  # process, garbage collection, reactor, threads, versions

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    reactor.listenTCP(parser.parse_args().port, site, interface="127.0.0.1")
    reactor.run()
