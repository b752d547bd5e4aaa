"""Mounts and routes that do not show what they lead to."""

from __future__ import annotations

from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Match, Mount, Route

from asgi.starlette_app import hello


class Group(BaseRoute):
    """A route that stands for several, and has no application."""

    def __init__(self, *routes: Any) -> None:
        self.routes = list(routes)

    def matches(self, scope: Any) -> tuple[Match, Any]:
        for route in self.routes:
            match, child = route.matches(scope)
            if match is not Match.NONE:
                return match, {**child, "chosen": route}
        return Match.NONE, {}

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        await scope["chosen"].handle(scope, receive, send)


def closure(app: Any) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return wrapped


class Versions:
    """A dispatcher by a header, or whatever else."""

    def __init__(self, app: Any) -> None:
        self.apps = {"1": app}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.apps["1"](scope, receive, send)


def starlette() -> Any:
    return Starlette(routes=[Route("/users/{id}", hello), deep()])


def users() -> list[Route]:
    return [Route("/users/{id}", partial(hello))]


def deep() -> Mount:
    return Mount("/m/{t}", routes=[Route("/users/{id}", hello)])


def between(app: Any) -> Any:
    return closure(Starlette(routes=[Mount("/v1", app)]))


class Anew(Route):
    """A route whose endpoint is another object for every request."""

    def matches(self, scope: Any) -> tuple[Match, Any]:
        match, child = super().matches(scope)
        return match, {**child, "endpoint": lambda: None} if child else child


class Bare(Anew):
    """One that does not leave itself in the scope, either."""

    def matches(self, scope: Any) -> tuple[Match, Any]:
        match, child = super().matches(scope)
        return match, {**child, "route": None} if child else child
