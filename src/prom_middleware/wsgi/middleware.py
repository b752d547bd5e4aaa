"""The middleware itself: what is a scrape, what is observed, what passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prom_middleware import failures
from prom_middleware.exposition.wsgi import decoded, headers, make_wsgi_app, path_of, undecoded
from prom_middleware.instrumentation import OTHER, Instrumentation, Observation, nesting
from prom_middleware.instrumentation.queueing import QUEUE_START, REQUEST_START
from prom_middleware.instrumentation.tracing import HTTP_TRACEPARENT
from prom_middleware.wsgi.input import FRAMED, observe_input
from prom_middleware.wsgi.response import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from typing_extensions import Unpack

    from prom_middleware.instrumentation import Options

# RFC 6455 section 4.1: no handshake is without it, and nearly nothing else has it.
WEBSOCKET_KEY = "HTTP_SEC_WEBSOCKET_KEY"


class PrometheusMiddleware:
    """Record the requests of a WSGI application, and answer /metrics.

    Raises a ConfigurationError for wrong options, NotAnApplicationError for what is not callable.
    """

    # How an application further in names the route while its response starts, if it does.
    name: Callable[[Observation, WSGIEnvironment], None] | None = None

    def __init__(self, app: WSGIApplication, **options: Unpack[Options]) -> None:
        # Imported by the first door that is made: not with this module, nor by the first request.
        from prom_middleware.options import application
        from prom_middleware.wsgi.files import observed_wrapper
        from prom_middleware.wsgi.place import outer_observation
        from prom_middleware.wsgi.watching import watching
        from prom_middleware.wsgi.websocket import response_or_handshake

        self._outer, self._watching = outer_observation, watching
        self._keyed, self._observed_wrapper = response_or_handshake, observed_wrapper
        application(app, "a WSGI")
        self.app = app
        self.core = core = Instrumentation(options, self.dialect())
        self._metrics_paths = tuple(map(undecoded, core.config.metrics_paths))
        self._metrics = make_wsgi_app(core.config.registry, access=core.config.access)
        nesting.expect_inner_doors()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request.

        What each request needs stands here, and the rest elsewhere: a call costs as much as what it
        does, and more where a framework has taken the processor's caches.
        """
        core, app, response = self.core, self.app, None
        try:
            path = environ.get("PATH_INFO", "")
            if path in self._metrics_paths:
                app = self._metrics
            elif (core.key in environ or nesting.outer_doors) and self._is_inside(environ):
                start_response = self.refining(environ, start_response)
                app = self._watching(app, environ.get(core.key))
            elif core.excluded is None or not core.excluded(path_of(environ)):
                if REQUEST_START in environ or QUEUE_START in environ:
                    core.queued(environ.get(REQUEST_START), environ.get(QUEUE_START))
                begun = self._keyed(environ) if WEBSOCKET_KEY in environ else Response()
                # uWSGI has no method for a line that is no request.
                begun.begin(core, environ, environ.get("REQUEST_METHOD", OTHER))
                response = begun
                if HTTP_TRACEPARENT in environ and core.traced:
                    response.trace = environ[HTTP_TRACEPARENT]
                response.server, response.name = start_response, self.name
                response.root, response.path = environ.get("SCRIPT_NAME", ""), path
                environ[core.key] = response
                response.wrapper = wrapper = environ.get("wsgi.file_wrapper")
                if wrapper is not None and type(wrapper) is not type:
                    response.wrapper = self._observed_wrapper(environ)
                if (
                    environ.get("CONTENT_LENGTH")
                    or "HTTP_TRANSFER_ENCODING" in environ
                    or environ.get("SERVER_PROTOCOL") in FRAMED
                ):
                    observe_input(environ, response)
        except Exception as error:
            failures.report("start", error)
            if response is not None:
                response.discard()
                response = None
        if response is None:
            try:
                return app(environ, start_response)
            except BaseException:
                self.broke(environ)
                raise
        try:
            body = app(environ, response.start_response)
        except BaseException as error:
            response.failed(error)
            raise
        return response.pass_on(body)

    def dialect(self) -> Dialect:
        """Return how the core reads this door's requests."""
        return Dialect()

    def refining(self, environ: WSGIEnvironment, start_response: StartResponse) -> StartResponse:
        """Return what the application gets where a door further out records."""
        return start_response

    def broke(self, environ: WSGIEnvironment) -> None:
        """Hear that the application raised, where a door further out records; never raises."""

    def _is_inside(self, environ: WSGIEnvironment) -> bool:
        """Tell whether a door further out records the request."""
        outer = self._outer(environ, self.core.key)
        return outer is not None and not outer.done


class Dialect:
    """How the core reads a WSGI environ: a server has no routes, frameworks bring them."""

    def route(self, environ: Mapping[str, Any]) -> str | None:
        """Return None: a server has no routes."""
        return None

    def path(self, response: Response) -> str:
        """Return the path below the script name."""
        return decoded(response.path)

    def headers(self, environ: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the headers, names in lower case."""
        return headers(environ)
