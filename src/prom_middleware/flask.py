"""The Flask door: the WSGI door around `app.wsgi_app`, and Flask's own word for the route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import finalize, ref

from prometheus_client import REGISTRY

from prom_middleware import failures
from prom_middleware.errors import MissingFrameworkError, NotAnApplicationError, OptionError
from prom_middleware.exposition.wsgi import make_wsgi_app
from prom_middleware.instrumentation import UNMATCHED, Configuration, nesting
from prom_middleware.options import checked, is_text, rules
from prom_middleware.wsgi.middleware import Dialect, PrometheusMiddleware
from prom_middleware.wsgi.place import ENTRANCE, mounts_of, place_of

try:
    import flask
    from flask.signals import got_request_exception, request_started
    from werkzeug.exceptions import HTTPException, MethodNotAllowed, SecurityError
    from werkzeug.local import LocalProxy
    from werkzeug.wrappers import Response

    from prom_middleware.werkzeug import matching_rule
except ImportError as missing:
    raise MissingFrameworkError(
        f"prom_middleware.flask needs Flask 2.2 or newer ({missing}): "
        'pip install "prom_middleware[flask]"'
    ) from missing

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from prometheus_client.registry import Collector
    from typing_extensions import Unpack

    from prom_middleware.exposition import AccessRule, ScrapeOptions
    from prom_middleware.instrumentation import Options

__all__ = ["Prometheus", "metrics_blueprint"]

EXTENSION = "prom_middleware"
# In the environ: Flask was asked for the rule, while it had one.
ASKED = "prom_middleware.flask"
# How Flask refuses a request that a rule matches, without naming it.
UNNAMED = (MethodNotAllowed, SecurityError)
CHECKS = rules(
    {"name": (lambda name: is_text(name) and name and "." not in name, "a name without dots")}
)


class Prometheus:
    """Record the requests of Flask applications: `Prometheus(app)`, or `init_app(app)` later.

    Raises a ConfigurationError for wrong options, NotAnApplicationError for no Flask application.
    """

    def __init__(self, app: flask.Flask | None = None, **options: Unpack[Options]) -> None:
        # As taken: an iterator among them is read once, and there may be several applications.
        self._options = Configuration.from_options(options).options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        """Put the door around `app`; a second extension on the same registry is harmless."""
        if isinstance(app, LocalProxy):  # `current_app`, which is another one at other times
            app = app._get_current_object()
        if not isinstance(app, flask.Flask):
            raise NotAnApplicationError(f"app={app!r} is not a Flask application")
        door = Door(app, **self._options)
        try:
            connect(app, door.rules)
        except RuntimeError as error:  # Flask 2.2 without blinker has signals that cannot be used
            raise MissingFrameworkError(
                "prom_middleware.flask needs blinker beside Flask 2.2: pip install blinker"
            ) from error
        app.wsgi_app = door  # type: ignore[method-assign]
        app.extensions.setdefault(EXTENSION, []).append(door)


def metrics_blueprint(
    registry: Collector = REGISTRY,
    *,
    metrics_path: str = "/metrics",
    name: str = "prom_middleware",
    access: AccessRule | None = None,
    disable_compression: bool = False,
    **options: Unpack[ScrapeOptions],
) -> flask.Blueprint:
    """Return a blueprint that answers `metrics_path`, inside the application.

    So a scrape passes all that the application has before its views: `before_request`, a login. To
    guard the metrics alone, use the blueprint's own `before_request`, or `access`. The other
    options are those of `make_wsgi_app`. Give the extension `metrics_path=None` beside it.

    Raises OptionError for wrong ones.
    """
    metrics_path, name = _place(metrics_path, name)
    metrics_app = make_wsgi_app(registry, disable_compression, access=access, **options)
    blueprint = flask.Blueprint(name, __name__)

    @blueprint.get(metrics_path, strict_slashes=False)
    def metrics() -> Response:
        return flask.Response.from_app(metrics_app, flask.request.environ)

    return blueprint


def _place(metrics_path: object, name: object) -> tuple[str, str]:
    path = Configuration.from_options({"metrics_path": metrics_path}).metrics_path
    if path is None or "<" in path:  # a rule with a converter, whose value nobody asks for
        raise OptionError(f"metrics_path={metrics_path!r}: give a path such as '/metrics'")
    return path, checked({"name": name}, CHECKS)["name"]


class Door(PrometheusMiddleware):
    """The WSGI door around one Flask application."""

    def __init__(self, app: flask.Flask, **options: Unpack[Options]) -> None:
        self.rules = Rules(app)
        super().__init__(app.wsgi_app, **options)
        self.rules.key = self.core.key
        self.name = self.rules.name

    def dialect(self) -> Dialect:
        """Return how the core reads this door's requests."""
        return self.rules

    def refining(self, environ: WSGIEnvironment, start_response: StartResponse) -> StartResponse:
        """Return a `start_response` that names the observation of the door further out."""
        observation = environ.get(self.core.key)
        if observation is None or observation.done:
            return start_response

        if observation.status is None:  # one that was asked before is not the one that answers
            observation.route = None
        mounts = mounts_of(environ, observation)

        def named_start(status: str, headers: Any, *exc_info: Any) -> Any:
            self.rules.name(observation, environ, mounts)
            return start_response(status, headers, *exc_info)

        return named_start

    def broke(self, environ: WSGIEnvironment) -> None:
        """Name what broke before it started a response: no signal tells of a BaseException."""
        try:
            observation = environ.get(self.core.key)
            if observation is not None and not observation.done and observation.status is None:
                self.rules.name(observation, environ)
        except Exception as error:
            failures.report("route", error)


class Rules(Dialect):
    """How the core reads a request of Flask, which leaves its own request in the environ."""

    key: str  # where the environ keeps the observation

    def __init__(self, app: flask.Flask) -> None:
        self._app = ref(app)  # signals hold us, and a factory's application must be free to go

    def name(self, observation: Any, environ: WSGIEnvironment, mounts: str = "") -> None:
        """Set the route, unless an application further in has set it.

        `mounts` are those between the outermost door and this one. Called while the response
        starts: then Flask has matched, and has not yet taken its request out of the environ. A
        signal would tell as much, at several times the cost.
        """
        try:
            if observation.route is not None:
                return
            rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
            if rule is not None:
                # Below no mount, as nearly always: that spares the call.
                if ENTRANCE not in environ and environ.get("SCRIPT_NAME", "") == observation.root:
                    observation.route = rule.rule
                else:
                    observation.route = place_of(environ, observation) + rule.rule
                return
            observation.route = self.route(environ, mounts)
            environ[ASKED] = True
        except Exception as error:
            failures.report("route", error)

    def follow(self, environ: WSGIEnvironment) -> None:
        """Set the route of a request that Flask has by a copy of the environ: the last one's.

        A copy that asks for something else is another request, and so is one that is made while
        Flask serves the request; where the outermost door is none of WSGI, `refining` names it.
        """
        observation: Any = environ.get(self.key)
        outer = getattr(observation, "request", None)
        if outer is environ or not isinstance(outer, Mapping) or "REQUEST_METHOD" not in outer:
            return
        if "werkzeug.request" in outer:
            return
        if not nesting.is_another(observation, environ) and observation.route in (None, UNMATCHED):
            observation.route = self.route(environ) or UNMATCHED

    def route(self, environ: Mapping[str, Any], mounts: str = "") -> str | None:
        """Return the rule that matched, also where only the method did not (405)."""
        observation = environ[self.key]
        request = environ.get("werkzeug.request")
        if isinstance(request, flask.Request):
            rule = self._rule_of(request)
        elif request is None and "werkzeug.request" in environ:
            # Flask has taken its request away. It broke before it started a response, unless ASKED.
            rule = None if ASKED in environ else self._matched(environ)
        elif mounts_of(environ, observation) != mounts:
            rule = None  # what a dispatcher further in has taken from the path: not our rules
        else:
            rule = self._matched(environ)
        return None if rule is None else place_of(environ, observation) + str(rule.rule)

    def _matched(self, environ: Mapping[str, Any]) -> Any:
        return _match(self._app(), flask.Request(dict(environ), populate_request=False))

    def _rule_of(self, request: flask.Request) -> Any:
        error = request.routing_exception
        # None: the application has made another request of the environ that Flask matched.
        if request.url_rule is None and (error is None or isinstance(error, UNNAMED)):
            # Of a dispatcher further in, it may be another application that answers.
            return _match(flask.current_app if flask.has_app_context() else self._app(), request)
        return request.url_rule


def _match(app: flask.Flask | None, request: flask.Request) -> Any:
    # uWSGI has no method for a line that is no request.
    if app is None or "REQUEST_METHOD" not in request.environ:
        return None
    try:
        adapter = app.create_url_adapter(request)
    except SecurityError:  # none of TRUSTED_HOSTS: it is named by its path
        adapter = app.url_map.bind("", path_info=request.path, default_method=request.method)
    return matching_rule(adapter)


def connect(app: flask.Flask, rules: Rules) -> None:
    """Have `app` tell the door's observation what was raised, also where it is handled."""

    def raised(*_: object, exception: BaseException, **__: object) -> None:
        try:
            environ = flask.request.environ
            observation = environ.get(rules.key)
            if observation is not None:
                rules.name(observation, environ)
                if isinstance(exception, HTTPException):
                    flask.after_this_request(
                        partial(_raised_unless_answered, observation, exception)
                    )
                else:
                    observation.raised(exception)
        except Exception as error:
            failures.report("exception", error)

    def started(*_: object, **__: object) -> None:
        try:
            rules.follow(flask.request.environ)
        except Exception as error:
            failures.report("route", error)

    _receive(got_request_exception, raised, app)
    if "wsgi_app" in vars(app):  # middleware further in may hand on a copy of the environ
        _receive(request_started, started, app)


def _receive(signal: Any, receiver: Callable[..., None], app: flask.Flask) -> None:
    # Signals hold their receivers weakly unless told otherwise, and then for ever: an application
    # that is gone takes its own along.
    signal.connect(receiver, app, weak=False)
    finalize(app, signal.disconnect, receiver).atexit = False


def _raised_unless_answered(
    observation: Any, error: HTTPException, response: flask.Response
) -> flask.Response:
    """Count what Flask made a 500 of; Flask-RESTX and Flask-RESTful signal each 404 of theirs."""
    try:
        asked_for = error.code if error.response is None else error.response.status_code
        if response.status_code != asked_for:
            observation.raised(error)
    except Exception as failure:
        failures.report("exception", failure)
    return response
