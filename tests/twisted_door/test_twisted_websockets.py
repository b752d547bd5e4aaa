"""A websocket takes a request's connection over: it is in no metric, and not in progress."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.internet.protocol import Protocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from metrics import in_progress, records
from prom_middleware import failures, instrument
from twisted_door.reactor import ask, connect, in_reactor, request, serving
from twisted_door.resources import USER, Leaf, Never, guarded
from waiting import becomes

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n"


class Lost(list[object]):
    """Twisted's protocol of a websocket, and its factory; the end of each connection is an item."""

    def buildProtocol(self, request: Any) -> Lost:
        return self

    def negotiationStarted(self, transport: Any) -> None:
        """Do nothing."""

    def negotiationFinished(self) -> None:
        """Do nothing."""

    def connectionLost(self, reason: object) -> None:
        self.append(reason)


def twisteds_own(lost: Lost) -> Resource:
    websocket = pytest.importorskip("twisted.web.websocket", reason="Twisted has none yet")
    return websocket.WebSocketResource(lost)


class TakesTheTransport(Leaf):
    """Answers as Autobahn does: with another protocol on the channel's transport."""

    def __init__(self, lost: Lost) -> None:
        super().__init__()
        self.lost = lost

    def render_GET(self, request: Any) -> Any:
        transport, request.channel.transport = request.channel.transport, None
        transport.protocol = protocol = Protocol()
        protocol.connectionLost = self.lost.connectionLost  # type: ignore[method-assign, assignment]
        protocol.makeConnection(transport)
        transport.write(SWITCHED + b"\r\n")
        return NOT_DONE_YET


def behind_guard(lost: Lost) -> Resource:
    return guarded(TakesTheTransport(lost))


KINDS: dict[str, Callable[[Lost], Resource]] = {
    "twisted": twisteds_own,
    "autobahn": TakesTheTransport,
    "guarded": behind_guard,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_websocket_is_no_request(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_counts", {})
    registry, lost, root = CollectorRegistry(), Lost(), Resource()
    root.putChild(b"ws", KINDS[kind](lost))
    root.putChild(b"leaf", Leaf())
    with serving(instrument(root, registry=registry)) as port:
        for count in (1, 2):
            opening = request("GET /ws", {**UPGRADE, **USER}, close=False)
            with connect(port, opening) as connection:
                assert connection.recv(len(SWITCHED)) == SWITCHED
                assert in_progress(registry) == 0
            assert becomes(lambda: len(lost), count) == count
        assert ask(port, "GET /leaf").status == 200
        expected = [("GET", "/leaf", 200, "", "complete")]
        assert becomes(lambda: records(registry), expected) == expected
    assert failures.counts() == {}


class OfHTTP2:
    """A channel as a stream of HTTP/2: what it sends by is no attribute that is kept in it."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)


class Multiplexed(Never):
    def render_GET(self, request: Any) -> Any:
        request.channel = OfHTTP2(request.channel)
        return super().render_GET(request)


@pytest.mark.parametrize("kind", [Never, Multiplexed])
def test_what_only_waits_is_in_progress(kind: type[Never]) -> None:
    registry, waiting = CollectorRegistry(), kind(b"begun")
    with (
        serving(instrument(waiting, registry=registry)) as port,
        connect(port, request("GET /")) as connection,
    ):
        connection.recv(1)
        in_reactor(int)
        assert in_progress(registry) == 1
        reactor.callFromThread(waiting.requests[0].finish)
        expected = [("GET", "/", 200, "", "complete")]
        assert becomes(lambda: records(registry), expected) == expected
