"""The middleware itself: what is a scrape, what is observed, what passes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from copy import copy
from functools import partial
from typing import TYPE_CHECKING

from prom_middleware import failures
from prom_middleware.asgi.dialect import Dialect, is_within
from prom_middleware.asgi.exchange import Exchange
from prom_middleware.asgi.tree import path_below, path_below_root
from prom_middleware.errors import NotAnApplicationError
from prom_middleware.exposition.asgi import ASGIApp, Receive, Scope, Send, make_asgi_app
from prom_middleware.instrumentation import Instrumentation, nesting
from prom_middleware.instrumentation.queueing import HEADERS, RAW_HEADERS
from prom_middleware.instrumentation.tracing import RAW_TRACEPARENT

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prom_middleware.instrumentation import Options


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
        self._traces = frozenset((RAW_TRACEPARENT,) if core.traced else ())
        self._noted = RAW_HEADERS | self._traces
        nesting.expect_outer_doors()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection.

        Part of the hot path, and one function for that reason: see `observation.py`.
        """
        app, exchange = self.app, None  # what goes wrong below must leave these as they are
        core = self._core
        key, mixed = core.key, nesting.inner_doors
        try:
            # In this order: CPython 3.11 compares more slowly before a long jump.
            if scope["type"] != "http":
                app = self._otherwise(scope)
            else:
                path = scope["path"]
                if scope.get("root_path"):
                    path = path_below(scope["root_path"], scope)
                if path in self._metrics_paths:
                    app = self._metrics
                elif key in scope and not scope[key].done:
                    self._dialect.refine(scope[key], scope)
                elif mixed and is_within(scope, key):
                    app = self._dialect.within(scope["wsgi_environ"], key, scope, app)
                elif core.excluded is None or not core.excluded(path_below_root(scope)):
                    noted, trace = self._noted, None
                    try:
                        headers = scope["headers"]
                    except KeyError:  # a test client's scope, at most
                        headers = ()
                    for name, value in headers:
                        if name in noted:
                            if name == RAW_TRACEPARENT:  # two of them are as good as none
                                trace = value if trace is None else b""
                            else:
                                core.queued(*_queue_headers(scope))
                                noted = self._traces
                    begun = Exchange()
                    begun.server_receive, begun.server_send = receive, send
                    begun.begin(core, scope, scope["method"])
                    try:
                        if trace is not None:
                            begun.trace = trace
                        scope[key] = exchange = begun
                    except Exception:
                        begun.discard()
                        raise
                    if mixed:
                        _announce(exchange, key, scope)
        except Exception as error:
            failures.report("start", error)
        if exchange is None:
            await app(scope, receive, send)
            return

        try:
            await app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            exchange.failed(error)
            raise
        finally:
            if not exchange.done:
                exchange.returned()
            # A server's `send` holds the scope: left there, each request would wait for the GC.
            scope.pop(key, None)

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

    def _otherwise(self, scope: Scope) -> ASGIApp:
        if scope["type"] == "websocket":
            return self._connect(scope)
        if scope["type"] == "lifespan":
            _notice_loop()
        return self.app

    def _connect(self, scope: Scope) -> ASGIApp:
        core = self._core
        outer = scope.get(core.key)
        if outer is not None and not outer.done:
            self._dialect.refine(outer, scope)
            return self.app
        if core.excluded is not None and core.excluded(path_below_root(scope)):
            return self.app
        from prom_middleware.asgi.websocket import observe_websocket  # the first one waits

        scope[core.key] = connection = core.connect(scope)
        return partial(observe_websocket, self.app, connection)


def _notice_loop() -> None:
    # Loaded by whoever called `runtime.install`.
    installation = sys.modules.get("prom_middleware.runtime.installation")
    if installation is not None:
        installation.notice_event_loop()


def _announce(exchange: Exchange, key: str, scope: Scope) -> None:
    try:
        method, root, path = scope["method"], scope.get("root_path") or "", scope["path"]
        nesting.announce(nesting.Announced(exchange, key, method, root, path))
    except Exception as error:
        failures.report("announce", error)


def _queue_headers(scope: Scope) -> Iterator[str]:
    found = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}
    return (found[name.encode()] for name in HEADERS if name.encode() in found)
