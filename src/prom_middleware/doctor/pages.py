"""Pages of metrics that stand among an application's routes, and who may read them.

They are known by their class, or as the functions that they are; nothing is asked of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, NamedTuple

from prom_middleware.doctor.frameworks import Route
from prom_middleware.doctor.guards import GUARDS, REFUSES
from prom_middleware.doctor.subjects import (
    Layer,
    Subject,
    configured,
    content_of,
    layer_of,
    subject_of,
    things,
)
from prom_middleware.exposition.access import AccessRule

RULE = 'basic_auth("prometheus", "a long secret")'
DEEPEST = 4


class Page(NamedTuple):
    """Where a page of metrics is, who may read it, and the line that would keep strangers out."""

    place: str
    access: AccessRule | None
    remedy: str


class Kind(NamedTuple):
    """How a page's rule is found, and the line that gives it one."""

    access: Callable[[Any], AccessRule | None]
    remedy: str


def _has(page: Any) -> AccessRule | None:
    rule: AccessRule | None = page.access
    return rule


def _has_none(page: Any) -> AccessRule | None:
    return None


def _has_the_projects(page: Any) -> AccessRule | None:
    return configured().access


def _other(ours: str, also: str = "") -> Kind:
    problem = "that of prometheus_client knows of no access"
    return Kind(_has_none, f"{problem}: take {ours} for it{also}")


MAKE_ASGI = f"prom_middleware.exposition.make_asgi_app(access={RULE})"
MAKE_WSGI = f"prom_middleware.exposition.make_wsgi_app(access={RULE})"
KINDS = {
    "prom_middleware.exposition.asgi.MetricsApp": Kind(_has, MAKE_ASGI),
    "prom_middleware.exposition.wsgi.MetricsApp": Kind(
        _has, f"{MAKE_WSGI}; metrics_blueprint takes the same"
    ),
    "prom_middleware.twisted.resources.MetricsResource": Kind(
        _has, f"prom_middleware.twisted.MetricsResource(access={RULE})"
    ),
    "prom_middleware.django.urls.metrics": Kind(
        _has_the_projects, f'PROM_MIDDLEWARE = {{"access": {RULE}}} in the settings'
    ),
    "prometheus_client.asgi.make_asgi_app.<locals>.prometheus_app": _other(MAKE_ASGI),
    # Its resource for Twisted is that in a WSGIResource.
    "prometheus_client.exposition.make_wsgi_app.<locals>.prometheus_app": _other(
        MAKE_WSGI, "; in Twisted, prom_middleware.twisted.MetricsResource takes the same"
    ),
}


def pages_of(subject: Subject) -> Iterator[Page]:
    """Yield the pages that nothing stands before; not those whose path is answered by a door."""
    if any(REFUSES.search(layer.name) for layer in subject.layers):
        return
    seen = {door.config.metrics_path for door in subject.doors}
    for route in (*subject.routes, *_mounted(subject.layers, 0)):
        page = None if route.hooks else _page(route)
        if page is not None and page.place not in seen:
            seen.add(page.place)
            yield page
    yield from _in_functions(subject.layers)


def _page(route: Route) -> Page | None:
    """Return the page that a route leads to, unless there is a guard on the way."""
    for thing in things(route.endpoint):
        if (kind := _kind(thing)) is not None:
            # A mount has whatever is below it, and some have a second route with a slash.
            place = route.template.removesuffix("/{path}").rstrip("/") or "/"
            return Page(place, kind.access(thing), kind.remedy)
        if GUARDS.search(layer_of(thing).name):
            return None
    # A view that a blueprint has made, around its page.
    return next((_page(route._replace(endpoint=one)) for one in _pages_in(route.endpoint)), None)


def _kind(thing: object) -> Kind | None:
    # By its type alone: to ask a proxy for an attribute may call anything.
    if isinstance(thing, FunctionType):
        return KINDS.get(f"{thing.__module__}.{thing.__qualname__}") if _is_itself(thing) else None
    names = (f"{base.__module__}.{base.__qualname__}" for base in type(thing).__mro__)
    return next((KINDS[name] for name in names if name in KINDS), None)


def _is_itself(function: FunctionType) -> bool:
    """Tell whether a module's function is the one of that name: one around it is called the same.

    What is around it may ask for a login.
    """
    module = sys.modules.get(function.__module__)
    return getattr(module, function.__qualname__, function) is function


def _mounted(layers: list[Layer], depth: int) -> Iterator[Route]:
    """Yield what a dispatcher has beside the application, with its routes."""
    for layer in layers if depth < DEEPEST else ():
        mounts = getattr(layer.thing, "mounts", None)
        for path, app in mounts.items() if isinstance(mounts, Mapping) else ():
            yield Route(path, endpoint=app)
            inner = subject_of(app)
            for route in (*inner.routes, *_mounted(inner.layers, depth + 1)):
                yield route._replace(template=path + route.template)


def _in_functions(layers: list[Layer]) -> Iterator[Page]:
    """Yield pages that a function may hand requests to; only it knows of what path."""
    for layer in layers:
        if GUARDS.search(layer.name):
            return
        for thing in _pages_in(layer.thing):
            if (kind := _kind(thing)) is not None:
                place = f"the page of metrics in {layer.name}"
                yield Page(place, kind.access(thing), kind.remedy)


def _pages_in(function: object) -> list[Any]:
    """Return the pages that a function has in its variables, or in those of its module."""
    if not isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
        return []  # a decorator's: it may ask for a login
    names, cells = function.__code__.co_freevars, map(content_of, function.__closure__ or ())
    known = {**function.__globals__, **dict(zip(names, cells, strict=True))}
    named = dict.fromkeys((*names, *function.__code__.co_names))
    return [known[name] for name in named if name in known and _kind(known[name]) is not None]
