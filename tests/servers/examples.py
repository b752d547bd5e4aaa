"""The five examples, what they are asked, and how they should count it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import pytest

from ports import free_port
from servers.support import HERE, Server, launched, python

EXAMPLES = HERE.parents[1] / "examples"
FRAMEWORKS = {
    "fastapi": "fastapi",
    "flask": "flask",
    "django": "django",
    "wsgi": "prometheus_client",  # needs nothing
    "twisted": "twisted.web",
}
UNMATCHED = "<unmatched>"
# For each example: path, and the route and status it counts as.
TRAFFIC = {
    "fastapi": {
        "/": ("/", 200),
        "/items/7": ("/items/{item_id}", 200),
        "/items/700": ("/items/{item_id}", 404),
        "/account": ("/account", 401),
        "/report": ("/report", 200),
        "/boom": ("/boom", 500),
        "/nowhere": (UNMATCHED, 404),
    },
    "flask": {
        "/": ("/", 200),
        "/items/7": ("/items/<int:item_id>", 200),
        "/items/700": ("/items/<int:item_id>", 404),
        "/account": ("/account", 401),
        "/report": ("/report", 200),
        "/boom": ("/boom", 500),
        "/nowhere": (UNMATCHED, 404),
    },
    "django": {
        "/": ("/", 200),
        "/items/7/": ("/items/<int:item_id>/", 200),
        "/items/700/": ("/items/<int:item_id>/", 404),
        "/account/": ("/account/", 302),
        "/report/": ("/report/", 200),
        "/boom/": ("/boom/", 500),
        "/nowhere": (UNMATCHED, 404),
    },
    "wsgi": {
        "/": (UNMATCHED, 200),
        "/boom": (UNMATCHED, 500),
        "/nowhere": (UNMATCHED, 404),
    },
    "twisted": {
        "/": ("/", 200),
        "/items/7": ("/items/{path}", 200),
        "/items/700": ("/items/{path}", 404),
        "/private/account": ("/private/{path}", 401),
        "/report": ("/report", 200),
        "/boom": ("/boom", 500),
        "/nowhere": (UNMATCHED, 404),
    },
}

Key = tuple[str, str, int]  # example, route, status


@contextmanager
def examples() -> Iterator[dict[str, Server]]:
    """Run all examples; the test is skipped where a framework is missing."""
    for module in FRAMEWORKS.values():
        pytest.importorskip(module)
    with ExitStack() as stack:
        started = {name: stack.enter_context(example(name)) for name in FRAMEWORKS}
        for server in started.values():
            server.wait()
        yield started


@contextmanager
def example(name: str) -> Iterator[Server]:
    """Run one example; it may not answer yet."""
    port = free_port()
    command = python(str(EXAMPLES / name / "app.py"), "--port", str(port))
    with launched(command, port) as server:
        yield server


def send(servers: Mapping[str, Server], times: Callable[[int], int]) -> Counter[Key]:
    """Send each request of the table as often as `times` says of its place; return the counts."""
    sent: Counter[Key] = Counter()
    for name, server in servers.items():
        for place, (path, (route, status)) in enumerate(TRAFFIC[name].items()):
            for _ in range(times(place)):
                assert server.client.get(path).status_code == status, (name, path)
                sent[name, route, status] += 1
    return sent
