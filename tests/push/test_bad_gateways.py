"""Gateways that refuse, hang, break or lead astray: told by the result, never raised."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from prom_middleware import failures
from prom_middleware.push import (
    delete_from_gateway,
    push_to_gateway,
    push_to_gateway_async,
    pushadd_to_gateway,
)
from prom_middleware.push.exchange import may_follow
from push.gateways import (
    Scripted,
    closing,
    dripping,
    garbage,
    listening,
    scripted,
    silent,
    slow_body,
)

pytestmark = pytest.mark.usefixtures("hurried")

NOWHERE = "127.0.0.1:1"
# Seconds: far more than what was asked for, far less than what the servers below would take.
SOON = 15.0


def ours() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "prom_middleware.push"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(registry: CollectorRegistry, status: int) -> None:
    with scripted(status, 200) as server:
        result = push_to_gateway(server.address, "j", registry)
    assert (result.ok, result.status, result.attempts) == (True, 200, 2)
    first, second = server.asked
    assert first.body == second.body
    assert b"rows_total" in first.body


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 501])
def test_a_final_failure_is_not(registry: CollectorRegistry, status: int) -> None:
    with scripted((status, {}, b"this is\nwrong")) as server:
        result = push_to_gateway(server.address, "j", registry)
    assert (result.ok, result.status, result.attempts) == (False, status, 1)
    assert result.reason.endswith(": this is wrong")
    assert len(server.asked) == 1


def test_the_number_of_retries(registry: CollectorRegistry) -> None:
    with scripted(500) as server:
        assert push_to_gateway(server.address, "j", registry, retries=2).attempts == 3
        assert push_to_gateway(server.address, "j", registry, retries=0).attempts == 1
        assert len(server.asked) == 4


def test_unreachable(registry: CollectorRegistry) -> None:
    result = push_to_gateway(NOWHERE, "j", registry, retries=2)
    assert not result
    assert (result.status, result.attempts) == (None, 3)
    assert "refused" in result.reason
    assert not push_to_gateway("nowhere.invalid", "j", registry, retries=0)


@pytest.mark.parametrize("behave", [silent, dripping], ids=["silent", "dripping"])
def test_a_timeout_ends_an_attempt(registry: CollectorRegistry, behave: Any) -> None:
    with listening(behave) as (address, accepted):
        result = push_to_gateway(address, "j", registry, timeout=0.3, retries=1)
        assert result.attempts == len(accepted) == 2
    assert not result
    assert "no answer within 0.3 seconds" in result.reason or "timed out" in result.reason
    assert result.seconds < SOON


REFUSED = b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n999\r\n"


def refusing_slowly(connection: socket.socket, ended: threading.Event) -> None:
    connection.sendall(REFUSED)
    while not ended.wait(0.05):
        connection.sendall(b"x")


def refusing_in_part(connection: socket.socket, ended: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(REFUSED)


@pytest.mark.parametrize("behave", [refusing_slowly, refusing_in_part])
def test_a_refusal_is_one_before_all_of_its_words_are_there(
    registry: CollectorRegistry, behave: Any
) -> None:
    with listening(behave) as (address, _):
        result = push_to_gateway(address, "j", registry, timeout=2, retries=3)
    assert (result.status, result.attempts, result.reason) == (400, 1, "400 Bad Request")


@pytest.mark.parametrize("behave", [silent, dripping], ids=["silent", "dripping"])
def test_a_deadline_ends_all(registry: CollectorRegistry, behave: Any) -> None:
    with listening(behave) as (address, _):
        result = push_to_gateway(address, "j", registry, timeout=None, deadline=0.4, retries=50)
    assert not result
    assert result.seconds < SOON


def test_a_deadline_ends_a_pause(registry: CollectorRegistry) -> None:
    with scripted((503, {"Retry-After": "1000"}, b"")) as server:
        result = push_to_gateway(server.address, "j", registry, deadline=5)
    assert (result.ok, result.attempts) == (False, 1)
    assert result.seconds < 5, "what cannot end in time is not begun"


def test_retry_after(registry: CollectorRegistry) -> None:
    with scripted((429, {"Retry-After": "1"}, b""), 200) as server:
        result = push_to_gateway(server.address, "j", registry)
    assert result.ok
    assert result.seconds >= 1


def test_a_deadline_ends_a_handler_that_knows_none(registry: CollectorRegistry) -> None:
    ended = threading.Event()
    result = push_to_gateway(
        NOWHERE, "j", registry, handler=lambda **_: lambda: ended.wait(60), deadline=0.2
    )
    ended.set()
    assert not result
    assert result.seconds < SOON


def test_a_deadline_ends_name_resolution(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    looked_up = threading.Event()
    sent: list[object] = []

    def resolve(*_: object, **__: object) -> Any:
        looked_up.set()
        ended.wait(60)
        sent.append("resolved")
        raise socket.gaierror("at last")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    result = push_to_gateway("gateway.invalid", "j", registry, deadline=0.2)
    assert looked_up.is_set()
    assert not result
    ended.set()


def test_what_is_late_is_not_sent(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would overwrite what the next push has brought."""
    let_go, real = threading.Event(), socket.getaddrinfo
    done = threading.Event()

    def resolve(*args: Any, **kwargs: Any) -> Any:
        let_go.wait(60)
        try:
            return real(*args, **kwargs)
        finally:
            done.set()

    with scripted(200) as server:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        assert not push_to_gateway(server.address, "j", registry, deadline=0.2)
        late = ours()
        let_go.set()
        for thread in late:
            thread.join(30)
        assert done.is_set()
        assert server.asked == []


def test_an_endless_answer_to_what_was_taken(registry: CollectorRegistry) -> None:
    with listening(slow_body) as (address, _):
        result = push_to_gateway(address, "j", registry, timeout=20)
    assert (result.ok, result.status) == (True, 200)


@pytest.mark.parametrize("behave", [closing, garbage], ids=["closing", "garbage"])
def test_no_answer_is_tried_again(registry: CollectorRegistry, behave: Any) -> None:
    with listening(behave) as (address, accepted):
        result = push_to_gateway(address, "j", registry, retries=2)
        assert len(accepted) == 3
    assert (result.ok, result.status, result.attempts) == (False, None, 3)
    assert result.reason


def test_an_endless_error_text_is_cut(registry: CollectorRegistry) -> None:
    with scripted((400, {}, b"x" * 1_000_000)) as server:
        assert len(push_to_gateway(server.address, "j", registry).reason) < 1000


# --- redirects


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_method(registry: CollectorRegistry, status: int) -> None:
    with scripted(200) as target, scripted((status, {"Location": "/else"}, b""), 200) as first:
        assert push_to_gateway(first.address, "j", registry, bearer_token="t")
        with scripted((status, {"Location": f"http://{target.address}/x"}, b"")) as other:
            assert push_to_gateway(other.address, "j", registry, bearer_token="t")
    here, there = first.asked[1], target.asked[0]
    assert (here.method, here.path, there.method, there.path) == ("PUT", "/else", "PUT", "/x")
    assert b"rows_total" in here.body
    assert here.body == there.body
    assert here.headers["Authorization"] == "Bearer t"
    assert there.headers["Authorization"] is None, "a token is for who it was given for"


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_would_lose_the_push(registry: CollectorRegistry, status: int) -> None:
    """urllib follows it with a GET for a POST, and takes the answer for a success."""
    with scripted((status, {"Location": "/else"}, b""), 200) as server:
        result = pushadd_to_gateway(server.address, "j", registry)
    assert (result.ok, result.status, result.attempts) == (False, status, 1)
    assert result.reason.endswith(": /else")
    assert server.methods == ["POST"]


@pytest.mark.parametrize("location", ["/else", "ftp://127.0.0.1/", "http://[", ""])
def test_redirects_that_lead_nowhere(registry: CollectorRegistry, location: str) -> None:
    with scripted((308, {"Location": location}, b"")) as server:
        result = push_to_gateway(server.address, "j", registry)
    assert not result.ok
    assert len(server.asked) < 10


def test_redirects_never_leave_tls() -> None:
    assert may_follow("http://a/", "https://a/")
    assert not may_follow("https://a/", "http://a/")


# --- what is sent


def test_credentials(registry: CollectorRegistry) -> None:
    with scripted(200) as server:
        push_to_gateway(server.address, "j", registry, basic_auth=("joe", "a:b ü"))
        push_to_gateway(f"http://joe:a%3Ab%20%C3%BC@{server.address}", "j", registry)
        push_to_gateway(server.address, "j", registry, bearer_token="t-1")
        push_to_gateway(server.address, "j", registry)
    sent = [asked.headers["Authorization"] for asked in server.asked]
    assert sent == ["Basic am9lOmE6YiDDvA==", "Basic am9lOmE6YiDDvA==", "Bearer t-1", None]


def test_secrets_are_not_logged(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    results = [
        push_to_gateway(f"http://joe:hush@{NOWHERE}", "j", registry, retries=0),
        push_to_gateway(f"http://joe:hush@{NOWHERE}/?x", "j", registry, retries=0),
        *(push_to_gateway(f"joe:hush{one}x@{NOWHERE}", "j", registry, retries=0) for one in "/?#"),
        push_to_gateway(NOWHERE, "j", registry, basic_auth=("joe", "hush", "x")),  # type: ignore[arg-type]
        push_to_gateway(NOWHERE, "j", registry, bearer_token="hush\n"),
        push_to_gateway(NOWHERE, "j", registry, basic_auth=("joe", "hush"), retries=0),
    ]
    assert not any(results)
    assert "hush" not in caplog.text + str(results)


def test_a_proxy(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with scripted(200) as proxy:
        monkeypatch.setenv("http_proxy", f"http://u:p@{proxy.address}")
        assert push_to_gateway("gateway.invalid:9091", "j", registry)
        monkeypatch.setenv("no_proxy", "gateway.invalid")
        assert not push_to_gateway("gateway.invalid:9091", "j", registry, retries=0)
    assert proxy.asked[0].path == "http://gateway.invalid:9091/metrics/job/j"
    assert proxy.asked[0].headers["Host"] == "gateway.invalid:9091"
    assert proxy.asked[0].headers["Proxy-Authorization"] == "Basic dTpw"
    assert len(proxy.asked) == 1


def test_a_proxy_for_tls(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def proxy(connection: socket.socket, ended: threading.Event) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 407 Not You\r\n\r\n")

    with listening(proxy) as (address, _):
        monkeypatch.setenv("https_proxy", f"http://u:p@{address}")
        result = push_to_gateway("https://gateway.invalid", "j", registry, retries=0)
    assert "407 Not You" in result.reason
    assert asked[0].startswith(b"CONNECT gateway.invalid:443 ")
    assert b"Proxy-Authorization: Basic dTpw" in asked[0]


def test_a_delete_has_no_body() -> None:
    with scripted(202) as server:
        assert delete_from_gateway(server.address, "j", {"a": "b"})
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.body) == ("DELETE", "/metrics/job/j/a/b", b"")


# --- what fails before anything is sent


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"gateway": "http://["}, "gateway"),
        ({"gateway": "http://"}, "gateway"),
        ({"gateway": "host:port"}, "gateway"),
        ({"gateway": "ftp://host"}, "gateway"),
        ({"gateway": "host/?a=b"}, "gateway"),
        ({"gateway": "a b"}, "gateway"),
        ({"grouping_key": {"a-b": "x"}}, "a-b"),
        ({"grouping_key": {"__a": "x"}}, "__a"),
        ({"grouping_key": {"job": "x"}}, "job"),
        ({"job": "\ud800"}, "UTF-8"),
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": "1"}, "timeout='1'"),
        ({"deadline": float("nan")}, "deadline=nan"),
        ({"retries": -1}, "retries=-1"),
        ({"retries": 1.5}, "retries=1.5"),
        ({"compression": "brotli"}, "compression='brotli'"),
        ({"handler": None}, "handler=None"),
        ({"bearer_token": "t", "basic_auth": ("a", "b")}, "exclude"),
        ({"basic_auth": ("a:b", "c")}, "basic_auth"),
        ({"ssl_context": "a"}, "ssl_context"),
        ({"colour": "blue"}, "colour"),
    ],
    ids=str,
)
def test_wrong_arguments_are_told(
    registry: CollectorRegistry,
    options: dict[str, Any],
    named: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    result = push_to_gateway(**{"gateway": NOWHERE, "job": "j", "registry": registry, **options})
    assert (result.ok, result.attempts, result.status) == (False, 0, None)
    assert named in result.reason
    assert result.reason in caplog.text


def test_a_registry_that_cannot_be_collected(broken: Any) -> None:
    with scripted(200) as server:
        result = push_to_gateway(server.address, "j", broken)
        assert result.reason == "RuntimeError: not today"
        assert asyncio.run(push_to_gateway_async(server.address, "j", broken)).reason
        assert server.asked == [], "a part of the metrics is not what was to be pushed"


def test_failures_are_counted_and_logged_each_time(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    before = failures.counts().get("push", 0)
    for _ in range(2):
        push_to_gateway(NOWHERE, "j", registry, retries=0)
    assert failures.counts()["push"] == before + 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_a_log_that_raises_does_not_reach_the_job(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(logging.getLogger("prom_middleware"), "warning", fail)
    assert not push_to_gateway(NOWHERE, "j", registry, retries=0)


@pytest.mark.parametrize("after", ["99999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_pause_without_end_is_none_that_raises(registry: CollectorRegistry, after: str) -> None:
    async def program(server: Scripted) -> None:
        pushing = asyncio.ensure_future(
            push_to_gateway_async(server.address, "j", registry, deadline=None)
        )
        while not server.asked:
            await asyncio.sleep(0.01)
        done, _ = await asyncio.wait({pushing}, timeout=0.5)
        assert not done
        pushing.cancel()
        await asyncio.wait({pushing})

    with scripted(*[(503, {"Retry-After": after}, b"")] * 3) as server:
        asyncio.run(program(server))
        assert len(server.asked) == 1


def test_limits_that_no_wait_can_have(registry: CollectorRegistry) -> None:
    with scripted(200) as server:
        assert push_to_gateway(server.address, "j", registry, timeout=1e10, deadline=1e300).ok


# --- async


def test_the_loop_goes_on(registry: CollectorRegistry) -> None:
    async def program(address: str) -> tuple[Any, int]:
        pushing = asyncio.ensure_future(
            push_to_gateway_async(address, "j", registry, deadline=0.5, retries=0)
        )
        turns = 0
        while not pushing.done():
            turns += 1
            await asyncio.sleep(0.01)
        return pushing.result(), turns

    with listening(silent) as (address, _):
        result, turns = asyncio.run(program(address))
    assert not result
    assert turns > 5


def test_who_is_cancelled_ends_the_push(registry: CollectorRegistry) -> None:
    async def program(address: str) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(push_to_gateway_async(address, "j", registry), 0.3)

    began = time.monotonic()
    with listening(silent) as (address, accepted):
        asyncio.run(program(address))
        for thread in ours():
            thread.join(2 * SOON)
        assert len(accepted) <= 1
    assert time.monotonic() - began < SOON


def test_at_the_interpreter_s_end_there_are_no_threads(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "prom_middleware.push":
            raise RuntimeError("can't start new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with scripted(500, 200) as server:
        result = push_to_gateway(server.address, "j", registry)
    assert (result.ok, result.attempts) == (True, 2)


def test_atexit() -> None:
    program = (
        "import atexit, sys\n"
        "from prometheus_client import REGISTRY\n"
        "from prom_middleware.push import push_to_gateway\n"
        "atexit.register(lambda: print(push_to_gateway(sys.argv[1], 'j', REGISTRY).ok))"
    )
    with scripted(200) as server:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, server.address],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.stdout, done.stderr) == ("True\n", "")
