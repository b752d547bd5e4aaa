"""The Flask door: the WSGI door around `app.wsgi_app`, and Flask's own word for the route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prom_middleware import failures
from prom_middleware.errors import MissingFrameworkError, NotAnApplicationError
from prom_middleware.instrumentation import Configuration
from prom_middleware.wsgi.middleware import PrometheusMiddleware, refine

try:
    import flask
    from flask.globals import request_ctx
    from flask.signals import got_request_exception, request_started
    from werkzeug.exceptions import MethodNotAllowed
except ImportError as missing:
    raise MissingFrameworkError(
        f"prom_middleware.flask needs Flask 2.2 or newer ({missing}): "
        'pip install "prom_middleware[flask]"'
    ) from missing

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prom_middleware.instrumentation import Options

__all__ = ["Prometheus"]

EXTENSION = "prom_middleware"


class Prometheus:
    """Record the requests of Flask applications: `Prometheus(app)`, or `init_app(app)` later.

    Raises a ConfigurationError for wrong options, NotAnApplicationError for no Flask application.
    """

    def __init__(self, app: flask.Flask | None = None, **options: Unpack[Options]) -> None:
        Configuration.from_options(options)
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        """Put the door around `app`; a second extension on the same registry is harmless."""
        if not isinstance(app, flask.Flask):
            raise NotAnApplicationError(f"app={app!r} is not a Flask application")
        door = PrometheusMiddleware(app.wsgi_app, **self._options)
        try:
            connect(app, door.core.key)
        except RuntimeError as error:  # Flask 2.2 without blinker has signals that cannot be used
            raise MissingFrameworkError(
                'prom_middleware.flask needs blinker: pip install "prom_middleware[flask]"'
            ) from error
        app.wsgi_app = door  # type: ignore[method-assign]
        app.extensions.setdefault(EXTENSION, []).append(door)


def connect(app: flask.Flask, key: str) -> None:
    """Have `app` tell the observation under `key` which rule matched and what was raised."""

    def started(*_: object, **__: object) -> None:
        try:
            template = _template()
            if template:
                refine(flask.request.environ, key, template)
        except Exception as error:
            failures.report("route", error)

    def raised(*_: object, exception: BaseException, **__: object) -> None:
        try:
            observation = flask.request.environ.get(key)
            if observation is not None:
                observation.raised(exception)
        except Exception as error:
            failures.report("exception", error)

    # Signals hold their receivers weakly unless told otherwise.
    request_started.connect(started, app, weak=False)
    got_request_exception.connect(raised, app, weak=False)


def _template() -> str | None:
    """Return the rule of the current request, also where only the method did not match (405)."""
    request: Any = flask.request
    if request.url_rule is not None:
        return str(request.url_rule.rule)
    error = request.routing_exception
    if not isinstance(error, MethodNotAllowed) or not error.valid_methods:
        return None
    adapter: Any = request_ctx.url_adapter
    rule, _ = adapter.match(method=next(iter(error.valid_methods)), return_rule=True)
    return str(rule.rule)
