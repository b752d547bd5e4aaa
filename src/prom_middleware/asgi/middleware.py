"""The middleware itself: how it is made."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from prom_middleware.asgi.dialect import Dialect
from prom_middleware.asgi.serving import Door
from prom_middleware.errors import NotAnApplicationError
from prom_middleware.exposition.asgi import ASGIApp, make_asgi_app
from prom_middleware.instrumentation import Instrumentation, nesting

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
        if not callable(app):
            raise NotAnApplicationError(f"app={app!r} is not callable: give an ASGI application")
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
