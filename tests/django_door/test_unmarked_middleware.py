"""Middleware that is asynchronous and not marked so: under ASGI, Django awaits what it hands on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django import VERSION
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest
from django.utils.decorators import sync_and_async_middleware

from django_door.project import Project
from django_door.settings import OURS
from metrics import in_progress, records
from prom_middleware import asgi, failures, wsgi
from prom_middleware.django import PrometheusMiddleware

pytestmark = [
    # asgiref's word to who has not marked it, and Django's to who streams asynchronously by WSGI.
    pytest.mark.filterwarnings("ignore:async_to_sync was passed a non-async-marked"),
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]

COMMON = "django.middleware.common.CommonMiddleware"


class Plain:
    """Hands on what comes, a response or a coroutine."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)


class Former(Plain):
    """Awaits what comes, and changes it."""

    def __call__(self, request: HttpRequest) -> Any:
        return self.answer(request)

    async def answer(self, request: HttpRequest) -> Any:
        """Return what is awaited here."""
        response = await self.get_response(request)
        response["X-Seen"] = "1"
        return response


class Task(Former):
    """Hands on what goes on by itself."""

    def __call__(self, request: HttpRequest) -> Any:
        return asyncio.ensure_future(self.answer(request))


class AsyncOnly(Former):
    """Has forgotten to say so of what it makes."""

    sync_capable = False


class SyncOnly(Plain):
    """Changes a response that is there."""

    async_capable = False

    def __call__(self, request: HttpRequest) -> Any:
        response = self.get_response(request)
        response["X-Seen"] = "1"
        return response


class SyncUnused(SyncOnly):
    """Is not in the chain, but in the settings."""

    def __init__(self, get_response: Any) -> None:
        raise MiddlewareNotUsed


class AsyncUnused(SyncUnused):
    """Would have made all further out asynchronous."""

    sync_capable, async_capable = False, True


def factory(get_response: Any) -> Any:
    """Make the door, whose class is not in the settings then."""
    return PrometheusMiddleware(get_response)


@sync_and_async_middleware
def function(get_response: Any) -> Any:
    """Hand on what comes."""
    return lambda request: get_response(request)


HERE = __name__
CHAINS = {
    "plain": ("asgi", [OURS, f"{HERE}.Plain", COMMON]),
    "former": ("asgi", [OURS, f"{HERE}.Former", COMMON]),
    "a task": ("asgi", [OURS, f"{HERE}.Task", COMMON]),
    "a function": ("asgi", [OURS, f"{HERE}.function", COMMON]),
    "further out": ("asgi", [f"{HERE}.Plain", OURS, f"{HERE}.Plain", COMMON]),
    "below what is synchronous": ("asgi", [f"{HERE}.SyncOnly", OURS, f"{HERE}.AsyncOnly", COMMON]),
    "by WSGI": ("wsgi", [OURS, f"{HERE}.AsyncOnly", COMMON]),
    "not used": ("wsgi", [OURS, f"{HERE}.AsyncUnused", COMMON]),
    "not used, by ASGI": ("asgi", [OURS, f"{HERE}.AsyncUnused", f"{HERE}.SyncOnly"]),
    "not used, and all else is": ("asgi", [OURS, f"{HERE}.SyncUnused", f"{HERE}.Plain"]),
    "made by a factory": ("wsgi", [f"{HERE}.AsyncOnly", f"{HERE}.factory", COMMON]),
}
DOORS = {"asgi": asgi.PrometheusMiddleware, "wsgi": wsgi.PrometheusMiddleware}
ROWS = [
    ("/u/3/", "/u/<int:id>/", 200, "", "complete"),
    ("/a/3/", "/a/<int:id>/", 200, "", "complete"),
    ("/ast/", "/ast/", 200, "", "complete"),
    ("/nothing/", "<unmatched>", 404, "", "complete"),
    ("/aboom/", "/aboom/", 500, "ValueError", "complete"),
]


@pytest.mark.skipif(VERSION < (5, 0), reason="Django 4.2 does not notice that its client is gone")
@pytest.mark.parametrize("middleware", ["Plain", "Former", "Task"])
def test_a_client_that_leaves_while_it_is_awaited(middleware: str) -> None:
    with Project("asgi", MIDDLEWARE=[OURS, f"{HERE}.{middleware}", COMMON]) as project:
        project.fetch("GET", "/aslow/", leaves="waiting")
        assert records(project.registry) == [
            ("GET", "/aslow/", 499, "CancelledError", "disconnect")
        ]
        assert in_progress(project.registry) == 0


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("outside", [False, True], ids=["entry", "door outside"])
def test_what_it_hands_on_is_awaited(chain: str, outside: bool) -> None:
    before = failures.counts()
    server, middleware = CHAINS[chain]
    door: Any = DOORS[server] if outside else None
    with Project(server, door, MIDDLEWARE=middleware) as project:
        for path, route, status, exception, outcome in ROWS:
            answer = project.fetch("GET", path)
            assert (answer.status, answer.error) == (status, None)
            row = ("GET", route, status, exception, outcome)
            assert row in records(project.registry)
        assert len(records(project.registry)) == len(ROWS)
        assert in_progress(project.registry) == 0
        assert project.fetch("GET", "/metrics").status == 200
    assert failures.counts() == before
