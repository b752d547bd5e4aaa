"""Scrapers that mean harm, or are many: each gets a clear answer, and others get theirs."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import NamedTuple
from urllib.parse import quote

import pytest

from metrics import series
from ports import free_port
from servers.support import Server, launched, python
from waiting import becomes

KINDS = ["uvicorn", "twisted", "alone"]
QUICK = {"X-Prometheus-Scrape-Timeout-Seconds": "1.5"}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name != "alone":
        pytest.importorskip(name)
    return name


@pytest.fixture(scope="module")
def server(kind: str) -> Iterator[Server]:
    port = free_port()
    with launched(python("abused_app.py", kind, str(port)), port) as server:
        server.wait()  # as long as a scraper waits by default, for what hangs
        yield server


class Answer(NamedTuple):
    status_code: int
    text: str


def scrape(server: Server, query: str = "", **headers: str) -> Answer:
    # A connection of its own for each: a client that threads share has troubles of its own.
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("GET", f"/metrics{query}", headers={**QUICK, **headers})
        response = connection.getresponse()
        return Answer(response.status, response.read().decode())
    finally:
        connection.close()


def status_of(server: Server, query: str, *headers: bytes) -> int:
    """Ask for more than an orderly client would; 0 for a server that hangs up at once."""
    lines = [b"GET /metrics%s HTTP/1.1" % query.encode(), b"Host: x", *headers]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as rude:
        try:
            rude.sendall(b"\r\n".join([*lines, b"Connection: close", b"", b""]))
            return int(rude.recv(12)[9:12] or 0)
        except ConnectionError:
            return 0


def is_well(server: Server, kind: str) -> None:
    """Check that requests beside are answered, and that threads did not pile up."""
    if kind == "alone":  # it answers nothing but scrapes, of which there may be too many for now
        query = "?match[]=" + quote('mine{n="' + "a" * 20 + '"}')
        assert becomes(lambda: scrape(server, query).status_code, 200) == 200
        return
    assert server.client.get("/").content == b"hello"
    assert int(server.client.get("/threads").content) < 100


def test_what_is_broken_is_left_out(server: Server, kind: str) -> None:
    answer = scrape(server)
    assert answer.status_code == 200
    assert len(series(answer.text)) >= 5000
    assert "TYPE garbage" not in answer.text
    is_well(server, kind)


def test_two_hundred_at_once(server: Server, kind: str) -> None:
    with ThreadPoolExecutor(200) as pool:
        scrapes = [pool.submit(scrape, server) for _ in range(200)]
        is_well(server, kind)
        answers = [one.result() for one in scrapes]
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 503}, statuses
    for answer in answers:
        if answer.status_code == 503:
            assert answer.text.startswith(("Limit of concurrent requests", "Exceeded configured"))
        else:
            assert f'mine{{n="{"a" * 20}"}} 0.0\n' in answer.text
    # An answer is there a moment before its place is free again.
    assert becomes(lambda: scrape(server).status_code, 200) == 200
    is_well(server, kind)


def test_slow_readers_hold_up_nobody(server: Server, kind: str) -> None:
    request = (
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Prometheus-Scrape-Timeout-Seconds: 1.5\r\n\r\n"
    )
    with ExitStack() as stack:
        for _ in range(45):  # more than there may be at once, which are 40
            slow = socket.socket()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stack.enter_context(slow)
            slow.connect(("127.0.0.1", server.port))
            slow.sendall(request)
            slow.settimeout(30)
            slow.recv(100)  # its body is being sent, and nobody takes it
        assert scrape(server).status_code == 200
        is_well(server, kind)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?" + "&".join(["name[]="] * 1500), "more than 1000 parameters"),
        ("?match[]=" + quote('mine{n=~"a{1000}{1000}"}'), "needs brackets"),
        ("?match[]=" + quote('mine{n=~"(a{1000}){1000}"}'), "too large"),
        ("?match[]=" + quote('mine{n=~"' + "(" * 2000 + '"}'), "groups within groups"),
        ("?match[]=mine{", "a label's name"),
    ],
)
def test_too_much_is_told(server: Server, kind: str, query: str, words: str) -> None:
    answer = scrape(server, query)
    assert answer.status_code == 400
    assert words in answer.text
    is_well(server, kind)


def test_ten_thousand_names(server: Server, kind: str) -> None:
    # Servers have limits of their own for a line: Twisted hangs up, http.server answers 414.
    assert status_of(server, "?" + "&".join(["name[]=x"] * 10_000)) in (0, 400, 414)
    is_well(server, kind)


@pytest.mark.parametrize(
    "regex", ["(a+)+$", "(a|a)*b", "((a|b)*)*c", "(.*a){20}", "(a|b)*a(a|b){12}"]
)
def test_regexes_do_not_explode(server: Server, kind: str, regex: str) -> None:
    answer = scrape(server, "?match[]=" + quote(f'mine{{n=~"{regex}"}}'))
    # What is costly ends by what it costs, or by the time, whichever comes first.
    wanted = {200: "", 400: "costs too much", 503: "Exceeded configured timeout of 1s."}
    assert wanted[answer.status_code] in answer.text
    is_well(server, kind)


def test_a_long_accept_header(server: Server, kind: str) -> None:
    accept = ",".join(f"text/x{number};q=0.{number % 10}" for number in range(4000))[:64_000]
    # Where a server takes it, it is a scrape like any other; Twisted hangs up.
    assert status_of(server, "", *_quick(), b"Accept: " + accept.encode()) in (0, 200, 400, 431)
    is_well(server, kind)


def _quick() -> list[bytes]:
    return [f"{name}: {text}".encode() for name, text in QUICK.items()]


def test_those_who_leave_leave_nothing_behind(server: Server, kind: str) -> None:
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as rude:
            rude.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    while scrape(server).status_code == 503:
        threading.Event().wait(0.1)
    is_well(server, kind)
