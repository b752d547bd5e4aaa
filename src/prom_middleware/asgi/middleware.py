"""The middleware itself: how it is made."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from prom_middleware import failures
from prom_middleware.asgi.exchange import Exchange
from prom_middleware.asgi.serving import Door
from prom_middleware.exposition.asgi import ASGIApp, Receive, Scope, Send, make_asgi_app
from prom_middleware.instrumentation import Instrumentation, nesting
from prom_middleware.instrumentation.tracing import TRACING

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prom_middleware.instrumentation import Options


class PrometheusMiddleware(Door):
    """Record the requests and websockets of an ASGI application, and answer /metrics.

    Raises a ConfigurationError for wrong options, NotAnApplicationError for what is not callable.
    """

    # Compiled, a `__call__` of the door's own class would be no coroutine function to a server.
    __call__ = Door.serve

    def __init__(self, app: ASGIApp, **options: Unpack[Options]) -> None:
        # Imported by the first door that is made: not with this module, nor by the first request.
        from prom_middleware.asgi import websocket  # noqa: F401 - for the rare ones
        from prom_middleware.asgi.dialect import Dialect
        from prom_middleware.instrumentation import cancelling  # noqa: F401 - for the rare ones
        from prom_middleware.options import application

        application(app, "an ASGI")
        dialect = Dialect(app)
        core = Instrumentation(options, dialect)
        metrics = make_asgi_app(core.config.registry, access=core.config.access)
        self._stand(app, core, dialect, metrics)
        nesting.expect_outer_doors()

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return this door around another application, unless it is around that already."""
        inner = app
        while isinstance(inner, PrometheusMiddleware):
            if inner._core is self._core:
                return app
            inner = inner.app
        door = copy(self)
        door.app = app
        return door

    def follow(self, scope: Scope) -> None:
        """Have the routers that fill in a copy of the scope be asked for the route."""
        outer = scope.get(self._core.key)
        if outer is None or outer.request is scope or outer.done:
            return
        if nesting.is_another(outer, scope):
            return
        if outer.core is self._core:
            self._dialect.follow(outer, scope)
        else:  # as this door did with what came to it
            self._dialect.refine(outer, scope)

    def hold(self, scope: Scope) -> None:
        """Remember the current span: another task may run what is below middleware."""
        if TRACING in self._core.modules:
            outer = scope.get(self._core.key)
            if isinstance(outer, Exchange) and not outer.done:
                self._core.exemplars.hold(outer)

    def inside(self, app: ASGIApp) -> ASGIApp:
        """Return what stands before `app`, inside an application's own middleware; never raises."""
        try:
            return Inside(app, self)
        except Exception as error:
            failures.report("start", error)
            return app


class Inside:
    """What follows a scope that the application's own middleware has copied.

    It may have stripped a prefix; the routers fill in the copy. A coroutine function, though one
    more costs as much as what it does: OpenTelemetry and others take what is none for ASGI 2.
    """

    def __init__(self, app: ASGIApp, door: PrometheusMiddleware) -> None:
        self.app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application."""
        try:
            self._door.follow(scope)
            self._door.hold(scope)
        except Exception as error:
            failures.report("route", error)
        await self.app(scope, receive, send)
