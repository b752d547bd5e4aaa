"""One request and its answer, which another thread can end."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from prom_middleware.push.outcomes import Outcome, of_answer, of_error
from prom_middleware.push.routes import route

# As much of an answer as is of use to a reader, in bytes.
MOST_TEXT = 2048
# RFC 9110 sections 15.4.8 and 15.4.9. The others may turn a push into a GET, which is none.
SAME_METHOD = (307, 308)
MOST_REDIRECTS = 5


class Request(NamedTuple):
    """What is sent; `secret` headers go to the first address only."""

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    secret: Sequence[tuple[str, str]]
    body: bytes
    context: ssl.SSLContext | None


class Exchange:
    """An attempt: `run` in one thread, `abort` from another."""

    def __init__(self, request: Request, timeout: float | None) -> None:
        self._request = request
        self._timeout = timeout
        self.answered: Outcome | None = None
        self._aborted = False
        self._connection: HTTPConnection | None = None

    def run(self) -> Outcome:
        """Return what came of it; never raises."""
        try:
            return self._follow()
        except Exception as error:
            return of_error(error)

    def abort(self) -> None:
        """Have `run` end soon, and send nothing that it has not sent yet."""
        self._aborted = True
        sock = None if self._connection is None else self._connection.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # wakes whoever reads from it

    def _follow(self) -> Outcome:
        url = self._request.url
        for _ in range(MOST_REDIRECTS):
            outcome = self._ask(url)
            if outcome.status not in SAME_METHOD or not outcome.location:
                return outcome
            before, url = url, urljoin(url, outcome.location)
            if not may_follow(before, url):
                return outcome
        return outcome

    def _ask(self, url: str) -> Outcome:
        request = self._request
        connection, target, extra = route(url, self._timeout, request.context)
        self._connection = connection
        secret = request.secret if _origin(url) == _origin(request.url) else ()
        headers = {**dict(request.headers), **dict(secret), **extra}
        with closing(connection):
            connection.connect()
            if self._aborted:
                raise TimeoutError("too late")
            connection.request(request.method, target, request.body, headers)
            answer = connection.getresponse()
            # What it says of a success is of no use, however long it takes to say it; and what the
            # status means does not wait for the words, nor need all of them.
            outcome = of_answer(answer.status, answer.reason, answer.headers, b"")
            if outcome.ok or outcome.location:
                return outcome
            self.answered = outcome
            with suppress(OSError, HTTPException):
                text = answer.read(MOST_TEXT)
                return of_answer(answer.status, answer.reason, answer.headers, text)
            return outcome


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def may_follow(before: str, after: str) -> bool:
    """Tell whether a redirect leads to where a push may go: never from TLS to plain text."""
    allowed = ("https",) if urlsplit(before).scheme == "https" else ("http", "https")
    return urlsplit(after).scheme in allowed
