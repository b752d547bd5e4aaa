"""The resources that the tests ask for: one of each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet import reactor
from twisted.web.guard import BasicCredentialFactory, HTTPAuthSessionWrapper
from twisted.web.resource import EncodingResourceWrapper, IResource, Resource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory
from twisted.web.static import File
from zope.interface import implementer

USER = {"Authorization": "Basic am9lOnNlY3JldA=="}  # joe:secret
NOBODY = {"Authorization": "Basic am9lOndyb25n"}  # joe:wrong


class Leaf(Resource):
    isLeaf = True  # noqa: N815 - the name is Twisted's

    def __init__(self, body: bytes = b"leaf") -> None:
        super().__init__()
        self.body = body

    def render_GET(self, request: Any) -> bytes:
        return self.body


class People(Resource):
    """Its children are made up as they are asked for."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        if path == b"broken":
            raise ValueError("no such person can be made up")
        if path == b"nobody":
            return super().getChild(path, request)
        return Leaf(path)


class Boom(Leaf):
    def render_GET(self, request: Any) -> bytes:
        raise ValueError("boom")


class NotBytes(Leaf):
    def render_GET(self, request: Any) -> Any:
        return 3


class Echo(Leaf):
    def render_POST(self, request: Any) -> bytes:
        return request.content.read()  # type: ignore[no-any-return]


class Session(Leaf):
    def render_GET(self, request: Any) -> bytes:
        # A session would leave a timer in the reactor for a quarter of an hour.
        request.getSession().expire()
        return self.body


class Silent(Resource):
    """Write nothing, and finish."""

    isLeaf = True  # noqa: N815

    def render_GET(self, request: Any) -> int:
        request.setResponseCode(202)
        request.finish()
        return int(NOT_DONE_YET)


class Later(Leaf):
    """Answer after a moment."""

    def render_GET(self, request: Any) -> Any:
        reactor.callLater(0.1, self._answer, request)
        return NOT_DONE_YET

    def _answer(self, request: Any) -> None:
        request.write(self.body)
        request.finish()


class Events(Later):
    def render_GET(self, request: Any) -> Any:
        request.setHeader(b"content-type", b"text/event-stream; charset=utf-8")
        request.write(b"data: 1\n\n")
        return super().render_GET(request)


class Never(Leaf):
    """Answer as much as `body`, and never finish; `requests` are those that wait."""

    def __init__(self, body: bytes = b"") -> None:
        super().__init__(body)
        self.requests: list[Any] = []

    def render_GET(self, request: Any) -> Any:
        self.requests.append(request)
        if self.body:
            request.write(self.body)
        return NOT_DONE_YET


class FailsLate(Later):
    """Begin the answer; what comes after raises."""

    def _answer(self, request: Any) -> None:
        from twisted.python.failure import Failure

        request.write(self.body)
        request.processingFailed(Failure(KeyError("late")))


@implementer(IRealm)
class Realm:
    def __init__(self, inside: Resource) -> None:
        self.inside = inside

    def requestAvatar(self, user: Any, mind: Any, *interfaces: Any) -> Any:
        return IResource, self.inside, lambda: None


def guarded(inside: Resource) -> HTTPAuthSessionWrapper:
    """Return `inside` behind a password."""
    users = InMemoryUsernamePasswordDatabaseDontUse(joe=b"secret")
    return HTTPAuthSessionWrapper(Portal(Realm(inside), [users]), [BasicCredentialFactory("x")])


def tree(directory: Path) -> Resource:
    """Return a root resource with all of the above below it, and a directory with one file."""
    (directory / "a.txt").write_text("a file")
    inside = Resource()
    inside.putChild(b"secret", Leaf(b"secret"))
    branch = Resource()
    branch.putChild(b"", Leaf(b"branch"))
    branch.putChild(b"twig", Leaf(b"twig"))
    children = {
        b"": Leaf(b"root"),
        b"leaf": Leaf(),
        b"branch": branch,
        b"u": People(),
        b"boom": Boom(),
        b"nb": NotBytes(),
        b"echo": Echo(),
        b"session": Session(),
        b"slow": Later(b"slow"),
        b"events": Events(b"data: 2\n\n"),
        b"late": FailsLate(b"half"),
        b"async": Never(b"first"),
        b"async2": Never(),
        b"static": File(str(directory)),
        b"guard": guarded(inside),
        b"zip": EncodingResourceWrapper(Leaf(b"z" * 5000), [GzipEncoderFactory()]),
        b"zipped": EncodingResourceWrapper(Silent(), [GzipEncoderFactory()]),
    }
    root = Resource()
    for name, child in children.items():
        root.putChild(name, child)
    return root
