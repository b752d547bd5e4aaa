"""Pages that commands fetch: whole and in time, or not at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from time import monotonic

import pytest

from prom_middleware.commands import CommandError
from prom_middleware.commands.sources import fetched
from push.gateways import listening

PAGE = b"jobs_total 3\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
CHUNK = b"d\r\njobs_total 3\n\r\n"
WHOLE = {
    "length": HEAD + b"Content-Length: 13\r\n\r\n" + PAGE,
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n",
    "until it hangs up": HEAD + b"\r\n" + PAGE,
}
CUT = {
    "length": HEAD + b"Content-Length: 26\r\n\r\n" + PAGE,
    "between chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK,
    "in a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK[:9],
}


def answering(answer: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def behave(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    return behave


@pytest.mark.parametrize("how", WHOLE)
def test_a_whole_page(how: str) -> None:
    with listening(answering(WHOLE[how])) as (address, _):
        assert fetched(f"http://{address}/metrics", 10) == (PAGE, "text/plain")


@pytest.mark.parametrize("how", CUT)
def test_a_page_that_is_cut_off_is_none(how: str) -> None:
    with (
        listening(answering(CUT[how])) as (address, _),
        pytest.raises(CommandError, match="IncompleteRead"),
    ):
        fetched(f"http://{address}/metrics", 10)


def test_a_page_that_takes_too_long_is_none() -> None:
    def behave(connection: socket.socket, ended: threading.Event) -> None:
        connection.sendall(HEAD + b"\r\n")
        while not ended.wait(0.05):
            connection.sendall(b"\n")

    began = monotonic()
    with listening(behave) as (address, _), pytest.raises(CommandError, match="timed out"):
        fetched(f"http://{address}/metrics", 0.5)
    assert monotonic() - began < 15


def test_a_name_and_a_password_are_sent_and_never_shown() -> None:
    asked = []

    def behave(connection: socket.socket, ended: threading.Event) -> None:
        asked.append(connection.recv(65536))

    with listening(behave) as (address, _), pytest.raises(CommandError) as caught:
        fetched(f"http://joe:a%20secret@{address}/metrics", 10)
    assert b"\r\nAuthorization: Basic am9lOmEgc2VjcmV0\r\n" in asked[0]  # joe:a secret
    assert str(caught.value).startswith(f"http://{address}/metrics: ")
    assert "secret" not in str(caught.value)
