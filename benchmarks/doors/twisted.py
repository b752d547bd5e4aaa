"""Twisted: a site with a tree of resources, over a connection in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from benchmarks import traffic
from benchmarks.counting import Called, samples
from benchmarks.limits import Histogram, pass_request, timed_request
from benchmarks.rounds import OURS, PASS, TIMER, Case, Contender
from prom_middleware import instrument


class Item(Resource):
    """Answer for whatever is below."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        """Answer."""
        request.setHeader(b"content-type", b"application/json")
        return traffic.BODY


def root(routes: int) -> Resource:
    """Return the root of a tree in which `/api/v1/resourceN` are leaves."""
    root, api, version = Resource(), Resource(), Resource()
    root.putChild(b"api", api)
    api.putChild(b"v1", version)
    for number in range(routes):
        version.putChild(b"resource%d" % number, Item())
    return root


def cases(routes: tuple[int, ...]) -> list[Case]:
    """Return the cases of a site."""
    return [
        Case(
            number, Contender("bare", "bare", drive(Site(root(number)), number)), list(_all(number))
        )
        for number in routes
    ]


def _all(routes: int) -> Iterator[Contender]:
    histogram, registry = Histogram(), CollectorRegistry()
    passing = Site(root(routes), requestFactory=pass_request(Request))
    timed = Site(root(routes), requestFactory=timed_request(Request, histogram))
    ours = instrument(root(routes), registry=registry)
    route = traffic.template(routes - 1, "{path}")
    count = samples(registry, "http_requests_total", method="GET", route=route, status="200")
    yield Contender(PASS, PASS, drive(passing, routes))
    yield Contender(TIMER, TIMER, drive(timed, routes), Called(histogram.count))
    yield Contender("prom_middleware", OURS, drive(ours, routes), count)


def drive(site: Site, routes: int) -> Callable[[int], float]:
    """Return what sends requests over one connection that stays open."""
    site.timeOut = None  # no reactor runs
    transport = StringTransport()
    address = IPv4Address("TCP", "127.0.0.1", 52114)
    protocol = site.buildProtocol(address)
    protocol.makeConnection(transport)
    request = traffic.raw(traffic.path(routes))

    def drive(number: int) -> float:
        start = process_time()
        for _ in range(number):
            transport.clear()
            protocol.dataReceived(request)
        seconds = process_time() - start
        response = transport.value()
        assert response.startswith(b"HTTP/1.1 200 OK"), response
        assert response.endswith(traffic.BODY), response
        return seconds

    return drive
