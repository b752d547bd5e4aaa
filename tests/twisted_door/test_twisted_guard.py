"""Twisted's guard and sessions: what is refused, and /metrics before and behind them."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.web.guard import (
    BasicCredentialFactory,
    DigestCredentialFactory,
    HTTPAuthSessionWrapper,
)
from twisted.web.resource import Resource
from twisted.web.util import Redirect

from metrics import in_progress, records, series, value
from prom_middleware import instrument
from prom_middleware.twisted import MetricsResource
from twisted_door.reactor import Response, ask, in_reactor, serving
from twisted_door.resources import NOBODY, USER, Leaf, Realm, guarded
from waiting import becomes

Row = tuple[str, str, int, str, str]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def row(route: str, status: int, method: str = "GET") -> Row:
    return (method, route, status, "", "complete")


class Forbidden(Leaf):
    """There is a page for those who are logged in, but not this one."""

    def render_GET(self, request: Any) -> bytes:
        request.setResponseCode(403)
        return b"not for you"


class Counted(Leaf):
    """Keep a session; it is ended at once, for it would leave a timer in the reactor."""

    def render_GET(self, request: Any) -> bytes:
        request.getSession().expire()
        return b"counted"


def inside(**more: Resource) -> Resource:
    root = Resource()
    children = {"page": Leaf(b"page"), "forbidden": Forbidden(), "counted": Counted(), **more}
    for name, child in children.items():
        root.putChild(name.encode(), child)
    return root


def site_of(guard: Resource, registry: CollectorRegistry, **options: Any) -> Any:
    root = Resource()
    root.putChild(b"guard", guard)
    root.putChild(b"away", Redirect(b"/log-in"))
    return instrument(root, registry=registry, **options)


CASES: dict[str, tuple[str, dict[str, str], Row]] = {
    "nobody": ("GET /guard/page", {}, row("/guard/{path}", 401)),
    "wrong password": ("GET /guard/page", NOBODY, row("/guard/{path}", 401)),
    "another scheme": (
        "GET /guard/page",
        {"Authorization": "Bearer x"},
        row("/guard/{path}", 401),
    ),
    "malformed": ("GET /guard/page", {"Authorization": "Basic ?"}, row("/guard/{path}", 401)),
    "head": ("HEAD /guard/page", {}, row("/guard/{path}", 401, "HEAD")),
    "post": ("POST /guard/page", {}, row("/guard/{path}", 401, "POST")),
    "logged in": ("GET /guard/page", USER, row("/guard/{path}", 200)),
    "forbidden": ("GET /guard/forbidden", USER, row("/guard/{path}", 403)),
    "redirect": ("GET /away", {}, row("/away", 302)),
}


@pytest.mark.parametrize("case", CASES)
def test_answers_have_their_route(case: str, registry: CollectorRegistry) -> None:
    line, headers, expected = CASES[case]
    with serving(site_of(guarded(inside()), registry)) as port:
        assert ask(port, line, headers).status == expected[2]
        assert becomes(lambda: records(registry), [expected]) == [expected]
        in_reactor(int)
    assert in_progress(registry) == 0


def test_digest(registry: CollectorRegistry) -> None:
    users = InMemoryUsernamePasswordDatabaseDontUse(joe=b"secret")
    factories = [BasicCredentialFactory("x"), DigestCredentialFactory(b"md5", b"x")]
    guard = HTTPAuthSessionWrapper(Portal(Realm(inside()), [users]), factories)
    expected = [row("/guard/{path}", 401)]
    with serving(site_of(guard, registry)) as port:
        assert (
            ask(port, "GET /guard/page", {"Authorization": 'Digest username="joe"'}).status == 401
        )
        assert becomes(lambda: records(registry), expected) == expected
        assert ask(port, "GET /metrics").status == 200


def no_session(site: Any, answer: Response) -> Response:
    assert "set-cookie" not in answer.headers
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert in_reactor(lambda: dict(site.sessions)) == {}
    return answer


@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
def test_metrics_outside(path: str, registry: CollectorRegistry) -> None:
    site = instrument(guarded(inside()), registry=registry)
    expected = [row("/{path}", 200)]
    with serving(site) as port:
        assert "set-cookie" in ask(port, "GET /counted", USER).headers
        assert becomes(lambda: records(registry), expected) == expected
        for headers in ({}, USER, NOBODY, {"Cookie": "TWISTED_SESSION=broken"}):
            scrape = no_session(site, ask(port, f"GET {path}", headers))
            assert scrape.status == 200
            assert value(series(scrape.body.decode()), "http_requests_total") == 1
        in_reactor(int)
    assert records(registry) == expected


def test_metrics_inside(registry: CollectorRegistry) -> None:
    guard = guarded(inside(metrics=MetricsResource(registry)))
    site = site_of(guard, registry, metrics_path=None)
    with serving(site) as port:
        for count, headers in enumerate(({}, NOBODY), 1):
            refused = ask(port, "GET /guard/metrics", headers)
            assert refused.status == 401
            assert b"http_requests" not in refused.body
            expected = [row("/guard/{path}", 401)] * count
            assert becomes(lambda: records(registry), expected) == expected
        for _ in range(2):
            scrape = no_session(site, ask(port, "GET /guard/metrics", USER))
            assert scrape.status == 200
            assert value(series(scrape.body.decode()), "http_requests_total") == 2
        assert ask(port, "POST /guard/metrics", USER).status == 405
        in_reactor(int)
    assert records(registry) == [row("/guard/{path}", 401)] * 2
    assert in_progress(registry) == 0


def test_guard_around_everything_with_metrics_inside(registry: CollectorRegistry) -> None:
    site = instrument(
        guarded(inside(metrics=MetricsResource(registry))), registry=registry, metrics_path=None
    )
    expected = [row("/{path}", 401)]
    with serving(site) as port:
        assert ask(port, "GET /metrics").status == 401
        assert becomes(lambda: records(registry), expected) == expected
        assert ask(port, "GET /metrics", USER).status == 200
        in_reactor(int)
    assert records(registry) == expected


def test_both_have_a_password_of_their_own(registry: CollectorRegistry) -> None:
    from prom_middleware import basic_auth

    scraper = base64.b64encode(b"prometheus:scrape").decode()
    access = basic_auth("prometheus", "scrape")
    site = instrument(guarded(inside()), registry=registry, access=access)
    with serving(site) as port:
        assert ask(port, "GET /metrics", USER).status == 401
        assert ask(port, "GET /metrics", {"Authorization": f"Basic {scraper}"}).status == 200
        assert ask(port, "GET /page", {"Authorization": f"Basic {scraper}"}).status == 401
        assert ask(port, "GET /page", USER).status == 200
        expected = [row("/{path}", 200), row("/{path}", 401)]
        assert becomes(lambda: sorted(records(registry)), expected) == expected
