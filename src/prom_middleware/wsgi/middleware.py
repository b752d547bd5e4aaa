"""The middleware itself: what is a scrape, what is observed, what passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

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

QUEUE_KEYS = ("HTTP_X_REQUEST_START", "HTTP_X_QUEUE_START")


class PrometheusMiddleware:
    """Record the requests of a WSGI application, and answer /metrics.

    Raises a ConfigurationError for wrong options, NotAnApplicationError for what is not callable.
    """

    def __init__(self, app: WSGIApplication, **options: Unpack[Options]) -> None:
        if not callable(app):
            raise NotAnApplicationError(f"app={app!r} is not callable: give a WSGI application")
        self.app = app
        self.core = core = Instrumentation(options, Dialect())
        path = core.config.metrics_path
        self._metrics_paths = () if path is None else (path, f"{path}/")
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

    def _start(self, environ: WSGIEnvironment, start_response: StartResponse) -> Response | None:
        core = self.core
        if self._is_inner(environ):
            return None
        if core.excluded is not None and core.excluded(path_of(environ)):
            return None
        for key in QUEUE_KEYS:
            if key in environ:
                core.queued(environ[key])
                break
        observation = Observation(core, environ, environ["REQUEST_METHOD"])
        try:
            entrance = Entrance(script_name(environ), path_of(environ))
            remember(environ, core.key, observation, entrance)
            if environ.get("CONTENT_LENGTH") or "HTTP_TRANSFER_ENCODING" in environ:
                observe_input(environ, observation)
            return Response(observation, start_response)
        except Exception:
            observation.abandon()
            raise

    def _is_inner(self, environ: WSGIEnvironment) -> bool:
        outer = outer_observation(environ, self.core.key)
        return outer is not None and not outer.done


class Dialect:
    """How the core reads a WSGI environ: a server has no routes, frameworks bring them."""

    def route(self, environ: Mapping[str, Any]) -> str | None:
        """Return None: doors further in set the route themselves."""
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


class Entrance(NamedTuple):
    """Where the outermost door stands, so that mounts further in can be told from its own root.

    `root` and `path` are what SCRIPT_NAME and PATH_INFO were, `prefix` the template of the place.
    """

    root: str
    path: str
    prefix: str = ""


def remember(
    environ: MutableMapping[str, Any], key: str, observation: Observation, entrance: Entrance
) -> None:
    """Leave `observation` for doors further in."""
    environ[key] = observation
    environ[f"{key}.entrance"] = entrance


def outer_observation(environ: MutableMapping[str, Any], key: str) -> Observation | None:
    """Return the observation of a door further out, be it WSGI, or ASGI or Twisted's."""
    if key in environ:
        observation: Observation = environ[key]
        return observation
    root, path = script_name(environ), path_of(environ)
    outer = nesting.outer(key, environ["REQUEST_METHOD"], (path, root + path))
    if outer is None:
        return None
    prefix = nesting.place(outer.observation)
    entrance = Entrance(outer.root, outer.path.removeprefix(outer.root))
    if prefix:  # the outer door's router has named all that is above us
        entrance = Entrance(root, path, prefix)
    remember(environ, key, outer.observation, entrance)
    return outer.observation


def refine(environ: Mapping[str, Any], key: str, template: str) -> None:
    """Name the request of `environ` by an inner door's `template`, mounts in between included."""
    observation = environ.get(key)
    if observation is None or observation.done:
        return
    entrance = environ.get(f"{key}.entrance") or Entrance(script_name(environ), path_of(environ))
    mounts = script_name(environ).removeprefix(entrance.root).rstrip("/")
    # A proxy's prefix (ProxyFix) is no mount: it was not taken from the path.
    if mounts + path_of(environ) != entrance.path:
        mounts = ""
    observation.route = entrance.prefix + mounts + template
