"""Who may scrape, and what the others are told."""

from __future__ import annotations

import base64
from collections.abc import Callable
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from prom_middleware import failures
from prom_middleware.exposition import (
    ScrapeRequest,
    access,
    allow_networks,
    basic_auth,
    bearer_token,
    make_asgi_app,
    make_wsgi_app,
)
from prom_middleware.exposition.scraping import scrape


def asked(authorization: str | None = None, client: str | None = "127.0.0.1") -> ScrapeRequest:
    headers = {} if authorization is None else {"authorization": authorization}
    return ScrapeRequest("GET", "/metrics", "", headers, client)


def basic(credentials: str | bytes) -> str:
    raw = credentials.encode() if isinstance(credentials, str) else credentials
    return f"Basic {base64.b64encode(raw).decode()}"


def test_both_rules_have_to_allow_it() -> None:
    none, all_ = (lambda _: False), (lambda _: True)
    for one in (none, all_):
        for other in (none, all_):
            assert access.Both(one, other)(asked()) == (one is other is all_)


def status(rule: Any, request: ScrapeRequest) -> int:
    return scrape(CollectorRegistry(), request, rule).status


USERS = basic_auth({"prometheus": "secret", "admin": "a:b:c", "jörg": "pässwörd"})
BASIC = [
    (basic("prometheus:secret"), 200),
    (basic("admin:a:b:c"), 200),  # RFC 7617: only the first colon parts the two
    (basic("jörg:pässwörd"), 200),
    (basic("prometheus:secret").replace("Basic", "bAsIc"), 200),  # RFC 9110: schemes have no case
    (basic("prometheus:secret").replace(" ", "   "), 200),
    (basic("prometheus:Secret"), 401),
    (basic("prometheus:secret "), 401),
    (basic("admin:secret"), 401),
    (basic("prometheus"), 401),
    (basic("prometheus:"), 401),
    (basic(":secret"), 401),
    (basic(""), 401),
    (basic("jörg:pässwörd".encode("latin-1")), 401),
    (basic(b"\xff\xfe:\x00"), 401),
    ("Basic", 401),
    ("Basic ", 401),
    ("Basic prometheus:secret", 401),
    ("Basic ====", 401),
    ("Basic cHJvbWV0aGV1czpzZWNyZXQ", 401),  # no padding
    ("Basic cHJvbWV0\naGV1czpzZWNyZXQ=", 401),
    (f"{basic('prometheus:secret')}!", 401),
    ("Basic \udcff\udcfe", 401),
    (basic("prometheus:secret").replace("Basic", "Bearer"), 401),
    ("cHJvbWV0aGV1czpzZWNyZXQ=", 401),
    ("", 401),
    (None, 401),
]


@pytest.mark.parametrize(("header", "answer"), BASIC)
def test_basic_auth(header: str | None, answer: int) -> None:
    assert status(USERS, asked(header)) == answer


def test_basic_auth_of_one_user() -> None:
    rule = basic_auth("prometheus", "secret")
    assert status(rule, asked(basic("prometheus:secret"))) == 200
    assert status(rule, asked(basic("prometheus:other"))) == 401


@given(st.text())
def test_no_header_makes_basic_auth_fail(header: str) -> None:
    assert USERS(asked(header)) is False


BEARER = [
    ("Bearer one", 200),
    ("Bearer two", 200),
    ("bearer one", 200),
    ("Bearer  one ", 200),
    ("Bearer three", 401),
    ("Bearer on", 401),
    ("Bearer one two", 401),
    ("Bearer One", 401),
    ("Bearer", 401),
    ("Bearer ", 401),
    ("Basic one", 401),
    ("one", 401),
    ("Bearer \udcff", 401),
    ("Bearer \N{SNOWMAN}", 401),
    (None, 401),
]


@pytest.mark.parametrize(("header", "answer"), BEARER)
def test_bearer_token(header: str | None, answer: int) -> None:
    assert status(bearer_token("one", "two"), asked(header)) == answer


NETWORKS = [
    ("10.1.2.3", True),
    ("11.0.0.1", False),
    ("192.0.2.7", True),
    ("192.0.2.8", False),
    ("::1", True),
    ("::2", False),
    ("2001:db8::5", True),
    ("2001:db9::5", False),
    ("::ffff:10.1.2.3", True),
    ("::ffff:11.0.0.1", False),
    ("fe80::1%eth0", True),
    ("testclient", False),
    ("10.1.2.3:80", False),
    ("", False),
    (None, False),
]


@pytest.mark.parametrize(("client", "allowed"), NETWORKS)
def test_networks(client: str | None, allowed: bool) -> None:
    rule = allow_networks("10.0.0.0/8", "192.0.2.7", "::1", "2001:db8::/32", "fe80::/10")
    assert rule(asked(client=client)) is allowed
    assert status(rule, asked(client=client)) == (200 if allowed else 403)


def test_a_mapped_network_is_the_network() -> None:
    """A server that listens on `::` shows IPv4 peers as mapped addresses (RFC 4291, 2.5.5.2)."""
    assert allow_networks("127.0.0.0/8")(asked(client="::ffff:127.0.0.1"))


@pytest.mark.parametrize("client", ["10.1.2.3", "::ffff:10.1.2.3", "11.0.0.1", "::a01:203"])
def test_a_network_may_be_given_as_mapped(client: str) -> None:
    rule = allow_networks("::ffff:10.0.0.0/104", "::ffff:192.0.2.7")
    assert rule(asked(client=client)) is client.endswith("10.1.2.3")
    assert rule(asked(client="192.0.2.7"))
    assert not rule(asked(client="192.0.2.8"))


def test_a_network_may_be_an_object() -> None:
    rule = allow_networks(ip_network("10.0.0.0/8"))  # type: ignore[arg-type]
    assert rule(asked(client="10.1.2.3"))


def test_forwarding_headers_are_not_believed() -> None:
    request = ScrapeRequest(
        "GET", "/", "", {"x-forwarded-for": "10.0.0.1", "forwarded": "for=10.0.0.1"}, "192.0.2.1"
    )
    assert status(allow_networks("10.0.0.0/8"), request) == 403


CALLABLES = [
    (lambda request: True, 200),
    (lambda request: "yes", 200),
    (lambda request: False, 403),
    (lambda request: None, 403),
    (lambda request: request.headers["missing"], 403),
    (lambda: True, 403),
]


@pytest.mark.parametrize(("rule", "answer"), CALLABLES)
def test_a_callable_decides(rule: Callable[..., object], answer: int) -> None:
    assert status(rule, asked()) == answer


def test_a_callable_that_fails_refuses_and_is_counted() -> None:
    before = failures.counts().get("access", 0)
    assert status(lambda request: 1 / 0, asked()) == 403
    assert failures.counts()["access"] == before + 1


def test_a_callable_that_times_out_refuses() -> None:
    class Timeout(BaseException):
        """As gevent's is."""

    def ask(request: ScrapeRequest) -> bool:
        raise Timeout

    assert status(ask, asked()) == 403


def test_a_callable_is_told_the_request() -> None:
    told: list[ScrapeRequest] = []
    request = ScrapeRequest("HEAD", "/metrics", "a=b", {"host": "x"}, "::1")
    scrape(CollectorRegistry(), request, told.append)
    assert told == [request]


CHALLENGES = [
    (USERS, 401, 'Basic realm="metrics", charset="UTF-8"'),
    (bearer_token("one"), 401, 'Bearer realm="metrics"'),
    (allow_networks("10.0.0.0/8"), 403, None),
    (lambda request: False, 403, None),
]


@pytest.mark.parametrize(("rule", "answer", "challenge"), CHALLENGES)
def test_a_refusal_says_how_to_get_in(rule: Any, answer: int, challenge: str | None) -> None:
    response = scrape(CollectorRegistry(), asked(), rule)
    headers = dict(response.headers)
    assert response.status == answer
    assert headers.get("WWW-Authenticate") == challenge
    assert headers["Content-Length"] == str(len(response.body))
    assert b"http_requests" not in response.body


@pytest.mark.parametrize("challenge", ["\N{SNOWMAN}", 'Basic realm="a"\r\nX: y', 7, b"Basic"])
def test_a_strange_challenge_breaks_no_server(challenge: Any) -> None:
    """A rule of the user's own may have anything as its challenge."""

    class Rule:
        def __call__(self, request: ScrapeRequest) -> bool:
            return False

    Rule.challenge = challenge  # type: ignore[attr-defined]
    app = make_wsgi_app(CollectorRegistry(), access=Rule())
    assert _wsgi_status(app) in (401, 403, 500)
    assert _asgi_status(make_asgi_app(CollectorRegistry(), access=Rule())) in (401, 403, 500)


def _wsgi_status(app: Any) -> int:
    told: list[Any] = []
    list(app({"REQUEST_METHOD": "GET"}, lambda *start: told.append(start)))
    ((line, headers),) = told
    for name, value in headers:
        f"{name}: {value}".encode("latin-1")
        assert "\r" not in value
    return int(line[:3])


def _asgi_status(app: Any) -> int:
    import asyncio

    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(app(scope, None, send))
    assert not any(b"\r" in value for _, value in told[0]["headers"])
    return int(told[0]["status"])


@pytest.mark.parametrize(
    ("rule", "header"),
    [(USERS, basic("prometheus:wrong")), (bearer_token("one", "two"), "Bearer wrong")],
)
def test_secrets_are_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch, rule: Any, header: str
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, wanted: bytes) -> bool:
        compared.append((given, wanted))
        return given == wanted

    monkeypatch.setattr(access, "compare_digest", compare)
    assert not rule(asked(header))
    number = 3 if rule is USERS else 2
    assert len(compared) == number, "each of them, whether an earlier one was equal or not"


def test_comparing_goes_on_after_a_match(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = SimpleNamespace(number=0)

    def compare(given: bytes, wanted: bytes) -> bool:
        calls.number += 1
        return given == wanted

    monkeypatch.setattr(access, "compare_digest", compare)
    assert USERS(asked(basic("prometheus:secret")))
    assert calls.number == 3


def test_a_rule_does_not_show_its_secrets() -> None:
    for rule in (USERS, bearer_token("secret")):
        assert "secret" not in repr(rule)
