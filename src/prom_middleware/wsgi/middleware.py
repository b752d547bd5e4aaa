"""The middleware itself: what is a scrape, what is observed, what passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from prom_middleware import failures
from prom_middleware.errors import NotAnApplicationError
from prom_middleware.exposition.wsgi import headers, make_wsgi_app
from prom_middleware.instrumentation import Instrumentation, Observation, nesting
from prom_middleware.wsgi.input import observe_input
from prom_middleware.wsgi.response import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from typing_extensions import Unpack

    from prom_middleware.instrumentation import Options

# In the environ: SCRIPT_NAME and PATH_INFO at the outermost door, and the template of its place.
ENTRANCE = "prom_middleware.entrance"
QUEUE_KEYS = ("HTTP_X_REQUEST_START", "HTTP_X_QUEUE_START")


class PrometheusMiddleware:
    """Record the requests of a WSGI application, and answer /metrics.

    Raises a ConfigurationError for wrong options, NotAnApplicationError for what is not callable.
    """

    def __init__(self, app: WSGIApplication, **options: Unpack[Options]) -> None:
        if not callable(app):
            raise NotAnApplicationError(f"app={app!r} is not callable: give a WSGI application")
        self.app = app
        self.core = core = Instrumentation(options, self.dialect())
        self._metrics_paths = core.config.metrics_paths
        self._metrics = make_wsgi_app(core.config.registry, access=core.config.access)
        nesting.expect_inner_doors()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        app, response = self.app, None
        try:
            if environ.get("PATH_INFO") in self._metrics_paths:
                app = self._metrics
            else:
                response = self._start(environ, start_response)
        except Exception as error:
            failures.report("start", error)
        if response is None:
            return app(environ, start_response)
        try:
            body = app(environ, response.start_response)
        except BaseException as error:
            response.failed(error)
            raise
        return response.pass_on(body, environ)

    def dialect(self) -> Dialect:
        """Return how the core reads this door's requests."""
        return Dialect()

    def _start(self, environ: WSGIEnvironment, start_response: StartResponse) -> Response | None:
        core = self.core
        outer = outer_observation(environ, core.key)
        if outer is not None and not outer.done:
            return None
        if core.excluded is not None and core.excluded(path_of(environ)):
            return None
        for key in QUEUE_KEYS:
            if key in environ:
                core.queued(environ[key])
                break
        observation = core.start(environ, environ["REQUEST_METHOD"])
        try:
            environ[core.key] = observation
            enter(environ)
            if environ.get("CONTENT_LENGTH") or "HTTP_TRANSFER_ENCODING" in environ:
                observe_input(environ, observation)
            return Response(observation, start_response)
        except Exception:
            observation.abandon()
            raise


class Dialect:
    """How the core reads a WSGI environ: a server has no routes, frameworks bring them."""

    def route(self, environ: Mapping[str, Any]) -> str | None:
        """Return None: a server has no routes."""
        return None

    def path(self, environ: Mapping[str, Any]) -> str:
        """Return the path below the script name."""
        return path_of(environ)

    def headers(self, environ: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the headers, names in lower case."""
        return headers(environ)


def path_of(environ: Mapping[str, Any]) -> str:
    """Return the path below the application's root."""
    return _decoded(environ.get("PATH_INFO", ""))


def script_name(environ: Mapping[str, Any]) -> str:
    """Return the application's root."""
    return _decoded(environ.get("SCRIPT_NAME", ""))


def _decoded(native: str) -> str:
    # PEP 3333: the bytes of the path, each as one character.
    return native if native.isascii() else native.encode("latin-1").decode("utf-8", "replace")


def enter(environ: MutableMapping[str, Any]) -> None:
    """Note where the outermost door stands, so that mounts further in can be told from its root."""
    if ENTRANCE not in environ:
        environ[ENTRANCE] = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", ""), ""


def outer_observation(environ: MutableMapping[str, Any], key: str) -> Observation | None:
    """Return the observation of a door further out, be it WSGI, or ASGI or Twisted's."""
    if key in environ:
        observation: Observation = environ[key]
        return observation
    if not nesting.outer_doors:
        return None
    root, path = script_name(environ), path_of(environ)
    outer = nesting.outer(key, environ["REQUEST_METHOD"], (path, root + path))
    if outer is None:
        return None
    prefix = nesting.place(outer.observation)
    environ[key] = outer.observation
    # Where the outer door's router named the place, that stands for all that is above us.
    environ[ENTRANCE] = (
        (environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", ""), prefix)
        if prefix
        else (outer.root, outer.path.removeprefix(outer.root), "")
    )
    return outer.observation


def place_of(environ: Mapping[str, Any]) -> str:
    """Return the template of the mounts between the outermost door and this application."""
    root, path, prefix = environ[ENTRANCE]
    script: str = environ.get("SCRIPT_NAME", "")
    if script == root:
        return str(prefix)
    mounts = script.removeprefix(root).rstrip("/")
    # A proxy's prefix (ProxyFix) is no mount: it was not taken from the path.
    mounted = mounts + environ.get("PATH_INFO", "") == path
    return prefix + _decoded(mounts) if mounted else str(prefix)
