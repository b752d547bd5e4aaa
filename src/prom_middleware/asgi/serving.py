"""How the middleware serves a connection: what is a scrape, what is observed, what passes.

Part of the hot path: the rules of `instrumentation/observation.py` hold here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from prom_middleware import failures
from prom_middleware.asgi.exchange import Exchange
from prom_middleware.asgi.scopes import is_within, path_below, path_below_root
from prom_middleware.exposition.asgi import ASGIApp, Message, Receive, Scope, Send
from prom_middleware.instrumentation import Instrumentation, Observation, nesting
from prom_middleware.instrumentation.queueing import RAW_HEADERS
from prom_middleware.instrumentation.tracing import RAW_TRACEPARENT

if TYPE_CHECKING:
    from prom_middleware.asgi.dialect import Dialect

# What an application says at its end.
ENDS = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")


class Door:
    """What stands before an application; the middleware that is derived from it makes it so."""

    def _stand(
        self, app: ASGIApp, core: Instrumentation, dialect: Dialect, metrics: ASGIApp
    ) -> None:
        """Stand before `app`; what `core` records is shown by `metrics`."""
        self.app = app
        self._core, self._dialect, self._metrics = core, dialect, metrics
        self._metrics_paths = core.config.metrics_paths
        self._traces = frozenset((RAW_TRACEPARENT,) if core.traced else ())
        self._noted = self._traces.union(RAW_HEADERS)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection.

        One function: a call costs as much as what it would do.
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
                # Not `get`: what is called has to come into the processor's caches first.
                try:
                    root = scope["root_path"]
                except KeyError:
                    root = None
                if root:
                    path = path_below(root, scope)
                if path in self._metrics_paths:
                    app = self._metrics
                elif (mixed or key in scope) and (inner := self._inner(scope)) is not None:
                    app = inner
                elif core.excluded is None or not core.excluded(path_below_root(scope)):
                    noted, trace = self._noted, None
                    try:
                        headers = scope["headers"]
                        len(headers)
                    except KeyError:  # a test client's scope, at most
                        headers = ()
                    except TypeError:  # an iterable, as it may be: what reads it once takes it away
                        headers = scope["headers"] = list(headers)
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
            try:
                del scope[key]
            except KeyError:
                pass  # the application has emptied it
            except Exception as error:
                failures.report("finish", error)

    def _inner(self, scope: Scope) -> ASGIApp | None:
        """Return what to call where a door further out records the request, and asks this one."""
        key = self._core.key
        outer = scope.get(key)
        if outer is not None and _continues(outer, scope, self._core):
            self._dialect.refine(outer, scope)
            return self.app
        if not is_within(scope, key):
            return None
        environ = scope["wsgi_environ"]
        app = self._dialect.within(environ, key, scope, self.app)
        _announce(environ[key], key, scope)
        return app

    def _otherwise(self, scope: Scope) -> ASGIApp:
        if scope["type"] == "websocket":
            return self._connect(scope)
        if scope["type"] == "lifespan":
            _notice_loop()
            return partial(pass_life, self.app)
        return self.app

    def _connect(self, scope: Scope) -> ASGIApp:
        core = self._core
        outer = scope.get(core.key)
        if outer is not None and not outer.done:
            self._dialect.refine(outer, scope)
            return self.app
        if core.excluded is not None and core.excluded(path_below_root(scope)):
            return self.app
        from prom_middleware.asgi.websocket import observe_websocket  # loaded with the door

        scope[core.key] = connection = core.connect(scope)
        return partial(observe_websocket, self.app, connection)


def _continues(outer: Observation, scope: Scope, core: Instrumentation) -> bool:
    """Tell whether this is the request that a door further out observes."""
    return not outer.done and not nesting.is_another(outer, scope, again=outer.core is core)


async def pass_life(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Call the application for as long as its server lives, and write down at the end what waits.

    As soon as uvicorn is told that the application has ended, it ends by the signal that it got,
    where nothing else is called at the end of a process. An application that has no lifespan
    raises: then it is the beginning.
    """

    async def send_last(message: Message) -> None:
        _conclude(message)
        await send(message)

    await app(scope, receive, send_last)
    _conclude()  # it may have told nobody


def _conclude(message: Message | None = None) -> None:
    try:
        if message is not None and message["type"] not in ENDS:
            return
        # Loaded by a store in files.
        ending = sys.modules.get("prom_middleware.stores.multiprocess.ending")
        if ending is not None:
            ending.conclude(hurry=False)
    except Exception as error:
        failures.report("store", error)


def _notice_loop() -> None:
    # Loaded by whoever called `runtime.install`.
    installation = sys.modules.get("prom_middleware.runtime.installation")
    if installation is not None:
        installation.notice_event_loop()


def _announce(exchange: Observation, key: str, scope: Scope) -> None:
    try:
        method, root, path = scope["method"], scope.get("root_path") or "", scope["path"]
        nesting.announce(nesting.Announced(exchange, key, method, root, path))
    except Exception as error:
        failures.report("announce", error)


def _queue_headers(scope: Scope) -> Iterator[str]:
    found = {name: value for name, value in reversed(scope["headers"]) if name in RAW_HEADERS}
    return (found[name].decode("latin-1") for name in RAW_HEADERS if name in found)
