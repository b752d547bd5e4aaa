"""Middleware that is asynchronous and not marked so: under ASGI, Django awaits what it hands on."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpRequest
from django.utils.decorators import sync_and_async_middleware

from django_door.project import Project
from django_door.settings import OURS
from metrics import in_progress, records
from prom_middleware import asgi, failures

COMMON = "django.middleware.common.CommonMiddleware"


class Plain:
    """Hands on what comes, a response or a coroutine."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)


class Former(Plain):
    """As before Django 5, in an idiom that nobody knows from Python 3.12 on."""

    def __call__(self, request: HttpRequest) -> Any:
        return self.answer(request)

    async def answer(self, request: HttpRequest) -> Any:
        """Await the response, and change it."""
        response = await self.get_response(request)
        response["X-Seen"] = "1"
        return response


@sync_and_async_middleware
def function(get_response: Any) -> Any:
    """Hand on what comes."""
    return lambda request: get_response(request)


CHAINS = {
    kind: [OURS, f"{__name__}.{kind}", COMMON] for kind in ("Plain", "Former", "function")
} | {"further out": [f"{__name__}.Plain", OURS, f"{__name__}.Plain", COMMON]}
ROWS = [
    ("/u/3/", "/u/<int:id>/", 200, "", "complete"),
    ("/a/3/", "/a/<int:id>/", 200, "", "complete"),
    ("/ast/", "/ast/", 200, "", "complete"),
    ("/nothing/", "<unmatched>", 404, "", "complete"),
    ("/aboom/", "/aboom/", 500, "ValueError", "complete"),
]


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("wrap", [None, asgi.PrometheusMiddleware], ids=["entry", "door outside"])
def test_what_it_hands_on_is_awaited(chain: str, wrap: Any) -> None:
    before = failures.counts()
    with Project("asgi", wrap, MIDDLEWARE=CHAINS[chain]) as project:
        for path, route, status, exception, outcome in ROWS:
            answer = project.fetch("GET", path)
            assert (answer.status, answer.error) == (status, None)
            row = ("GET", route, status, exception, outcome)
            assert row in records(project.registry)
        assert len(records(project.registry)) == len(ROWS)
        assert in_progress(project.registry) == 0
        assert project.fetch("GET", "/metrics").status == 200
    assert failures.counts() == before
