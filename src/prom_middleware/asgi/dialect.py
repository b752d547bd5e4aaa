"""How the core reads an ASGI scope."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from prom_middleware.asgi.routing import Router
from prom_middleware.asgi.scopes import Scope, added_root, path_below_root
from prom_middleware.exposition.asgi import ASGIApp, Receive, Send, headers
from prom_middleware.instrumentation import nesting

if TYPE_CHECKING:
    from prom_middleware.instrumentation import Connection, Observation

Environ = Mapping[str, Any]
Resolve = Callable[[Any], "str | None"]


class AskedFirst:
    """Find the route by a scope further in, and else as before."""

    __slots__ = ("dialect", "otherwise", "prefix", "scope")

    def __init__(self, dialect: Dialect, scope: Scope, prefix: str, otherwise: Resolve) -> None:
        self.dialect, self.scope = dialect, scope
        self.prefix, self.otherwise = prefix, otherwise

    def __call__(self, request: Any) -> str | None:
        """Return the template, with what is above it."""
        template = self.dialect.route(self.scope)
        return self.prefix + template if template else self.otherwise(request)


def without(resolve: Resolve, dialect: Dialect) -> Resolve:
    """Return how the route is found where `dialect` is not asked."""
    if not isinstance(resolve, AskedFirst):
        return resolve
    if resolve.dialect is dialect:
        return resolve.otherwise
    resolve.otherwise = without(resolve.otherwise, dialect)
    return resolve


class Dialect:
    """Translate the scopes that an application is called with."""

    def __init__(self, app: object) -> None:
        self.route = Router(app).template
        self.headers = headers

    def path(self, exchange: Observation) -> str:
        """Return the path below the server's own root path."""
        return path_below_root(exchange.request)

    def refine(self, outer: Observation | Connection, scope: Scope) -> None:
        """Have a door further out ask this one for the route first.

        It sees the same scope as a rule, and then its root router knows the whole template; but an
        application may have copied the scope, or sent it here by rules of its own.
        """
        outer_scope = outer.request
        if scope is outer_scope and "router" in scope:
            return
        added = "" if "router" in scope else added_root(outer_scope, scope)
        self._be_asked_first(outer, scope, outer.core.prefixes.label(added))

    def follow(self, outer: Observation, scope: Scope) -> None:
        """Have a door ask this scope first, which its application's own middleware has copied."""
        self._be_asked_first(outer, scope, "")

    def within(self, environ: Environ, key: str, scope: Scope, app: ASGIApp) -> ASGIApp:
        """Have a WSGI door further out ask this one for the route; return what tells it the rest.

        The adapter runs `app` in another thread, and may send an answer in the place of what that
        raises.
        """
        outer: Observation = environ[key]
        self._be_asked_first(outer, scope, nesting.place_of(environ, outer))
        outer.rarely()  # made now, while no other thread has anything to tell
        return partial(_telling, app, outer)

    def _be_asked_first(self, outer: Observation | Connection, scope: Scope, prefix: str) -> None:
        # Of several copies, the last one: an application may make any number of them.
        outer.resolve = AskedFirst(self, scope, prefix, without(outer.resolve, self))


async def _telling(
    app: ASGIApp, outer: Observation, scope: Any, receive: Receive, send: Send
) -> None:
    try:
        await app(scope, receive, send)
    except BaseException as error:
        outer.raised(error)
        raise
