"""Where each framework keeps its middleware and its routes; none of them is imported here."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from copy import copy
from typing import Any, NamedTuple

from prom_middleware.asgi.routing import Routes
from prom_middleware.asgi.tree import Entry
from prom_middleware.doctor.guards import REFUSES
from prom_middleware.resources import behind, children, hosts

# A path that no route is made for: what takes it takes everything.
ANYTHING = "/prom_middleware/asks/for/what/no/route/is/made/for"
DEEPEST = 16
CATCH_ALL = re.compile(r"/?(\^?/?(\.\*|\(\.\*\)|\(\?P<\w+>\.[*+]\))\$?|<path:\w+>)/?")
PORT = "start_http_server in one process, on a port that only Prometheus can reach"


class Route(NamedTuple):
    """A place that requests are named by; `catches_all` is set where it takes any path.

    `hooks` are called before its endpoint alone, and may answer in its place.
    """

    template: str
    catches_all: bool = False
    endpoint: object = None
    hooks: tuple[object, ...] = ()


class Framework(NamedTuple):
    """The line that gives an application a door, and where it keeps what it is made of."""

    door: str
    stack: Callable[[Any], Any] = lambda app: None
    mounted: Callable[[Any], Iterable[Any]] = lambda app: ()
    routes: Callable[[Any], list[Route]] = lambda app: []
    middleware: Callable[[Any], Iterable[str]] = lambda app: ()
    outermost: str = "put the door around what is served: app = instrument(app)"
    protect: str = (
        'access=basic_auth("prometheus", "a long secret") or access=allow_networks("10.0.0.0/8"); '
        f"or metrics_path=None, and {PORT}"
    )


def framework_of(thing: object) -> Framework | None:
    """Return the framework that an application is of, if it is known."""
    names = [f"{base.__module__}.{base.__qualname__}" for base in type(thing).__mro__]
    return next((FRAMEWORKS[name] for name in names if name in FRAMEWORKS), None)


def foreign_framework(thing: object) -> str:
    """Return the name of a framework whose routes nobody reads, or nothing."""
    roots = (base.__module__.partition(".")[0] for base in type(thing).__mro__)
    return next((root for root in roots if root in FOREIGN), "")


def django_settings() -> Any:
    """Return the settings of the Django project in this process."""
    return sys.modules["django.conf"].settings


def _starlette_stack(app: Any) -> Any:
    if app.middleware_stack is None:  # as the first request does, but to a copy
        stack, app = app.build_middleware_stack(), copy(app)
        app.middleware_stack = stack
    return app.middleware_stack


def _starlette_routes(app: Any) -> list[Route]:
    return [
        Route(entry.template, _takes_anything(entry), entry.endpoint)
        for entry in Routes(app.routes).entries
    ]


def _starlette_mounts(app: Any) -> Iterable[Any]:
    # A mount and a host have an application where a route has an endpoint, too.
    return [one.app for one in app.routes if hasattr(one, "app") and not hasattr(one, "endpoint")]


def _takes_anything(entry: Entry) -> bool:
    # A mount at the root is where other files are; it names what it has by itself.
    return entry.scope_type == "http" and entry.regex.match(ANYTHING) is not None


def _flask_routes(app: Any) -> list[Route]:
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint != "static"]
    views = app.view_functions
    return [
        Route(r.rule, _catches_all(r.rule), views.get(r.endpoint), tuple(_hooks(app, r.endpoint)))
        for r in rules
    ]


def _hooks(app: Any, endpoint: str) -> Iterable[object]:
    """Yield what Flask calls before a view and may answer in its place.

    Of what it calls before all of them, as loggers are, only what refuses by its name.
    """
    called = app.before_request_funcs
    blueprint = endpoint.rpartition(".")[0]
    while blueprint:  # one in another is called `outer.inner`, and those of both are called
        yield from called.get(blueprint, ())
        blueprint = blueprint.rpartition(".")[0]
    for hook in called.get(None, ()):
        if REFUSES.search(getattr(hook, "__name__", type(hook).__name__)):
            yield hook


def _django_routes(handler: Any) -> list[Route]:
    resolver = sys.modules["django.urls"].get_resolver()
    return list(_patterns(resolver.url_patterns, ""))


def _patterns(patterns: Iterable[Any], prefix: str) -> Iterable[Route]:
    for one in patterns:
        route = prefix + str(one.pattern)
        if hasattr(one, "url_patterns"):
            yield from _patterns(one.url_patterns, route)
        else:
            yield Route(f"/{route}", _catches_all(route), one.callback)


def _django_middleware(handler: Any) -> Iterable[str]:
    return list(django_settings().MIDDLEWARE)


def _twisted_routes(site: Any) -> list[Route]:
    return list(_resources(getattr(site, "resource", site), "", 0))


def _klein_routes(app: Any) -> list[Route]:
    return _twisted_routes(app.resource())


def _resources(resource: Any, prefix: str, depth: int) -> Iterable[Route]:
    """Yield Klein's rules, and the static segments; what a resource makes itself, nobody knows."""
    resource = behind(resource)
    klein: Any = getattr(resource, "_app", None)
    for rule in klein.url_map.iter_rules() if hasattr(klein, "url_map") else ():
        yield Route(prefix + str(rule.rule), _catches_all(str(rule.rule)))
    if depth > DEEPEST:  # a resource may stand below itself
        return
    for host in hosts(resource):
        yield from _resources(host, prefix, depth + 1)
    for segment, child in children(resource).items():
        path = f"{prefix}/{segment.decode('utf-8', 'replace')}"
        yield Route(path, endpoint=behind(child))
        yield from _resources(child, path, depth + 1)


def _catches_all(route: str) -> bool:
    return CATCH_ALL.fullmatch(route) is not None


DJANGO = Framework(
    'INSTALLED_APPS = [..., "prom_middleware.django"]',
    routes=_django_routes,
    middleware=_django_middleware,
    outermost="leave the door out of MIDDLEWARE: it puts itself first",
    protect='PROM_MIDDLEWARE = {"access": basic_auth("prometheus", "a long secret")} or '
    f'{{"access": allow_networks("10.0.0.0/8")}}; or {{"metrics_path": None}}, and {PORT}',
)
FLASK = Framework("Prometheus(app)", lambda app: app.wsgi_app, routes=_flask_routes)
# Of version 3, which goes past what is around the Flask application inside.
_CONNEXION = Framework("app = instrument(app)")
_TWISTED = Framework("site = instrument(root)", routes=_twisted_routes)
# By the base class of an application; FastAPI's is Starlette.
FRAMEWORKS = {
    "starlette.applications.Starlette": Framework(
        "app = instrument(app)", _starlette_stack, _starlette_mounts, _starlette_routes
    ),
    "flask.app.Flask": FLASK,
    "connexion.apps.flask.FlaskApp": _CONNEXION,
    "connexion.apps.asynchronous.AsyncApp": _CONNEXION,
    "django.core.handlers.wsgi.WSGIHandler": DJANGO,
    "django.core.handlers.asgi.ASGIHandler": DJANGO,
    "twisted.web.server.Site": _TWISTED,
    "twisted.web.resource.Resource": _TWISTED,
    "klein._app.Klein": Framework("site = instrument(app)", routes=_klein_routes),
    "": Framework("app = instrument(app)"),
}
FOREIGN = frozenset(
    (
        *("litestar", "quart", "falcon", "bottle", "pyramid", "sanic", "blacksheep", "cherrypy"),
        *("robyn", "lilya", "datasette"),
    )
)
