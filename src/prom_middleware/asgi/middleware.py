"""The middleware itself: what is a scrape, what is observed, what passes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from prom_middleware import failures
from prom_middleware.asgi.dialect import Dialect
from prom_middleware.asgi.exchange import Exchange
from prom_middleware.asgi.routing import path_below, path_below_root
from prom_middleware.asgi.websocket import observe_websocket
from prom_middleware.errors import NotAnApplicationError
from prom_middleware.exposition.asgi import ASGIApp, Receive, Scope, Send, make_asgi_app
from prom_middleware.instrumentation import Instrumentation, nesting

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prom_middleware.instrumentation import Options

QUEUE_HEADERS = frozenset({b"x-request-start", b"x-queue-start"})


class PrometheusMiddleware:
    """Record the requests and websockets of an ASGI application, and answer /metrics.

    Raises a ConfigurationError for wrong options, NotAnApplicationError for what is not callable.
    """

    def __init__(self, app: ASGIApp, **options: Unpack[Options]) -> None:
        if not callable(app):
            raise NotAnApplicationError(f"app={app!r} is not callable: give an ASGI application")
        self.app = app
        self._dialect = Dialect(app)
        self._core = core = Instrumentation(options, self._dialect)
        self._metrics_paths = core.config.metrics_paths
        self._metrics = make_asgi_app(core.config.registry, access=core.config.access)
        nesting.expect_outer_doors()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        app, exchange = self.app, None  # what goes wrong below must leave these as they are
        try:
            if scope["type"] == "http":
                path = scope["path"]
                if scope.get("root_path"):
                    path = path_below(scope["root_path"], scope)
                if path in self._metrics_paths:
                    app = self._metrics
                else:
                    exchange = self._start(scope, receive, send)
            elif scope["type"] == "websocket":
                app = self._connect(scope)
        except Exception as error:
            failures.report("start", error)
        if exchange is None:
            await app(scope, receive, send)
            return

        try:
            await app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            _end(exchange, partial(exchange.failed, error))
            raise
        else:
            if not exchange.done:
                _end(exchange, exchange.returned)
        finally:
            # A server's `send` holds the scope: left there, each request would wait for the GC.
            scope.pop(self._core.key, None)
            exchange.resolve = None

    def _start(self, scope: Scope, receive: Receive, send: Send) -> Exchange | None:
        core = self._core
        if core.key in scope and not scope[core.key].done:
            self._dialect.refine(scope[core.key], scope)
            return None
        if core.excluded is not None and core.excluded(path_below_root(scope)):
            return None
        if "headers" in scope:
            for name, value in scope["headers"]:
                if name in QUEUE_HEADERS:
                    core.queued(value.decode("latin-1"))
                    break
        exchange = Exchange(core, scope, scope["method"])
        exchange.server_receive, exchange.server_send = receive, send
        try:
            scope[core.key] = exchange
        except Exception:
            exchange.abandon()
            raise
        if nesting.inner_doors:
            _announce(exchange, core.key, scope)
        return exchange

    def _connect(self, scope: Scope) -> ASGIApp:
        core = self._core
        outer = scope.get(core.key)
        if outer is not None and not outer.done:
            self._dialect.refine(outer, scope)
            return self.app
        if core.excluded is not None and core.excluded(path_below_root(scope)):
            return self.app
        scope[core.key] = connection = core.connect(scope)
        return partial(observe_websocket, self.app, connection)


def _announce(exchange: Exchange, key: str, scope: Scope) -> None:
    try:
        method, root, path = scope["method"], scope.get("root_path") or "", scope["path"]
        nesting.announce(nesting.Announced(exchange, key, method, root, path))
    except Exception as error:
        failures.report("announce", error)


def _end(exchange: Exchange, record: Callable[[], None]) -> None:
    try:
        record()
    except Exception as error:
        failures.report("finish", error)
        exchange.abandon()
