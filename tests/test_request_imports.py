"""A request imports nothing: what it needs was there when its door was made.

As with a scrape, see `exposition/test_imports.py`: there may be no descriptor to import with, and
who imports a door that it may never use waits for little.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

WSGI = """
import io
from prom_middleware.wsgi import PrometheusMiddleware

def inner(environ, start_response):
    wrapper = environ["wsgi.file_wrapper"]
    start_response("200 OK", [("Content-Length", "4")])
    if environ["PATH_INFO"] == "/raises":
        raise ValueError
    if environ["PATH_INFO"] == "/read":
        environ["wsgi.input"].read()
    return wrapper(io.BytesIO(b"file")) if environ["PATH_INFO"] == "/file" else [b"body"]

class Wrapper:
    def __init__(self, filelike): self.filelike = filelike
    def __iter__(self): return iter(self.filelike)
    def close(self): self.filelike.close()

app = PrometheusMiddleware(PrometheusMiddleware(inner))
REQUESTS = [
    {},
    {"PATH_INFO": "/raises"},
    {"PATH_INFO": "/read", "CONTENT_LENGTH": "4"},
    {"PATH_INFO": "/file"},
    {"PATH_INFO": "/file", "wsgi.file_wrapper": lambda file: file},
    {"HTTP_SEC_WEBSOCKET_KEY": "a", "HTTP_UPGRADE": "websocket"},
    {"HTTP_X_REQUEST_START": "t=1700000000", "HTTP_TRACEPARENT": f"00-{1:032x}-{1:016x}-01"},
]
def ask(request):
    environ = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/", **request}
    environ = {"wsgi.input": io.BytesIO(b"read"), "wsgi.file_wrapper": Wrapper, **environ}
    try:
        body = app(environ, lambda status, headers, exc_info=None: None)
        b"".join(body)
        body.close() if hasattr(body, "close") else None
    except ValueError:
        pass

def ask_all():
    for request in REQUESTS:
        ask(request)
"""
ASGI = """
import asyncio
from prom_middleware.asgi import PrometheusMiddleware

async def inner(scope, receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1000})
        return
    if scope["path"] == "/raises":
        raise ValueError
    if scope["path"] == "/cancelled":
        raise asyncio.CancelledError
    await receive()
    stream = (b"content-type", b"text/event-stream")
    await send({"type": "http.response.start", "status": 200, "headers": [stream]})
    await send({"type": "http.response.body", "body": b"data"})

app = PrometheusMiddleware(PrometheusMiddleware(inner))
trace = (b"traceparent", f"00-{1:032x}-{1:016x}-01".encode())
REQUESTS = [
    {"type": "http", "path": "/"},
    {"type": "http", "path": "/", "headers": [(b"x-request-start", b"t=1700000000"), trace]},
    {"type": "http", "path": "/raises"},
    {"type": "http", "path": "/cancelled"},
    {"type": "websocket", "path": "/"},
]
async def ask(request):
    async def receive(): return {"type": "http.request"}
    async def send(message): pass
    try:
        await app({"method": "GET", "headers": [], **request}, receive, send)
    except (ValueError, asyncio.CancelledError):
        pass

async def ask_each():
    for request in REQUESTS:
        await ask(request)

loop = asyncio.new_event_loop()
def ask_all():
    loop.run_until_complete(ask_each())
"""
PROGRAM = """
import sys
sys.modules["gunicorn"] = sys  # it alone cancels what it has told of nobody
{door}
from prom_middleware import failures
before = set(sys.modules)
ask_all()
print(sorted(set(sys.modules) - before))
print(failures.counts())
from prometheus_client import REGISTRY
print(sum(s.value for m in REGISTRY.collect() for s in m.samples if s.name == COUNTED))
"""


def run(program: str) -> list[str]:
    """Return the lines that a program writes in a Python of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(("door", "requests"), [(WSGI, 7), (ASGI, 4)], ids=["wsgi", "asgi"])
def test_a_request_imports_nothing(door: str, requests: int) -> None:
    program = f'COUNTED = "http_requests_total"\n{PROGRAM.format(door=door)}'
    assert run(program) == ["[]", "{}", f"{requests}.0"]
