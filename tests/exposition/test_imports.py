"""A scrape imports nothing: what it needs was there when its door or endpoint was made.

An import takes descriptors, and the lock of a module, which nobody gives back in a process that is
forked meanwhile.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

MADE = {
    "asgi": "from prom_middleware.asgi import PrometheusMiddleware as make; app = make(asgi)",
    "asgi endpoint": "from prom_middleware.exposition import make_asgi_app; app = make_asgi_app()",
    "wsgi": "from prom_middleware.wsgi import PrometheusMiddleware as make; app = make(wsgi)",
    "wsgi endpoint": "from prom_middleware.exposition import make_wsgi_app; app = make_wsgi_app()",
}
PROGRAM = """
import asyncio, os, resource, sys

async def asgi(scope, receive, send): pass
def wsgi(environ, start_response): return []
{made}

WAYS = [
    ("", {{}}),
    ("", {{"accept": "application/openmetrics-text;version=1.0.0", "accept-encoding": "gzip"}}),
    ("", {{"accept": "application/vnd.google.protobuf;"
        "proto=io.prometheus.client.MetricFamily;encoding=delimited"}}),
    ('match[]={{__name__=~"python.*"}}', {{"accept-encoding": "zstd"}}),
    ("debug=prometheus-protobuf", {{}}),
]

def ask_wsgi(query, headers):
    environ = {{"HTTP_" + name.upper().replace("-", "_"): headers[name] for name in headers}}
    environ |= {{"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "QUERY_STRING": query}}
    statuses = []
    assert b"".join(app(environ, lambda status, _: statuses.append(int(status[:3]))))
    return statuses[0]

async def ask_asgi(query, headers):
    pairs = [(name.encode(), headers[name].encode()) for name in headers]
    scope = {{"type": "http", "method": "GET", "path": "/metrics", "headers": pairs}}
    sent = []
    async def send(message):
        sent.append(message)
    await app({{**scope, "query_string": query.encode()}}, None, send)
    assert sent[1]["body"]
    return sent[0]["status"]

async def main():
    before = set(sys.modules)
    # No descriptor is free: what has to open a file cannot.
    highest = os.dup(0)
    os.close(highest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))
    for way in WAYS:
        print(await ask_asgi(*way) if {is_asgi} else ask_wsgi(*way))
    print(sorted(set(sys.modules) - before))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are numbered otherwise")
@pytest.mark.parametrize("made", MADE)
def test_a_scrape_takes_neither_imports_nor_descriptors(made: str) -> None:
    program = PROGRAM.format(made=MADE[made], is_asgi=made.startswith("asgi"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == ["200"] * 5 + ["[]"], done.stderr


MACHINERY = ("exposition.turns", "instrumentation.registration", "stores.memory")


@pytest.mark.parametrize("door", ["asgi", "wsgi", "flask", "twisted"])
def test_who_imports_a_door_waits_for_nothing_of_one_that_is_made(door: str) -> None:
    pytest.importorskip(door if door in ("flask", "twisted") else "sys")
    names = [f"prom_middleware.{name}" for name in MACHINERY]
    loaded = f"import sys, prom_middleware.{door}; print([n for n in {names} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n", done.stderr
