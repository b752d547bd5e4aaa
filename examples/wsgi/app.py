"""A WSGI application without a framework, behind a session middleware of its own.

    python examples/wsgi/app.py --port 8000
    curl http://127.0.0.1:8000/
    curl http://127.0.0.1:8000/metrics

`instrument(...)` around the outermost callable is the one line: scrapes touch no session, and
what the middleware answers by itself is recorded too. Plain WSGI has no routes, so every request
counts as `<unmatched>`; a Flask or Django application below would name them by a door of its own.
"""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Iterable, Iterator
from http.cookies import SimpleCookie
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

from prom_middleware import instrument


class SessionMiddleware:
    """Keep a dictionary per browser, under the random name in its cookie."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.sessions: dict[str, dict[str, Any]] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("session")
        name = cookie.value if cookie else ""
        known = name in self.sessions
        if not known:
            name = secrets.token_urlsafe()
        environ["example.session"] = self.sessions.setdefault(name, {})

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            if not known:
                headers = [*headers, ("Set-Cookie", f"session={name}; HttpOnly; Path=/")]
            return start_response(status, headers, *exc_info)

        return self.app(environ, start)


def home(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    session = environ["example.session"]
    session["visits"] = session.get("visits", 0) + 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"Visit {session['visits']}.\n".encode()]


def report(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    """Answer in chunks: the time that counts is that of the last one."""
    start_response("200 OK", [("Content-Type", "text/csv")])
    for number in range(5):
        time.sleep(0.02)
        yield f"{number},{number * 100}\n".encode()


def boom(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    raise RuntimeError("An error that nobody catches.")


def missing(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"Nothing here.\n"]


PAGES = {"/": home, "/report": report, "/boom": boom}


def pages(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return PAGES.get(environ["PATH_INFO"], missing)(environ, start_response)


app = instrument(SessionMiddleware(pages))


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    make_server("127.0.0.1", port, app, Server).serve_forever()
