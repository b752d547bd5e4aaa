"""An application as the checks see it: its layers from the outermost on, its doors, its routes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import CellType
from typing import Any, NamedTuple

from prom_middleware.doctor.frameworks import (
    DJANGO,
    FRAMEWORKS,
    Framework,
    Route,
    django_settings,
    framework_of,
)
from prom_middleware.instrumentation import Configuration, Instrumentation
from prom_middleware.instrumentation.config import as_taken

# Where middleware keeps what it wraps, as attribute or as variable of a function.
INNER = (
    *("app", "application", "wsgi_app", "asgi_app", "wsgi", "wrapped_app", "get_response"),
    "_application",  # as Twisted's WSGIResource has it
    "wsgi_application",  # asgiref's WsgiToAsgi
    "other_asgi_app",  # python-socketio
    "inner",  # Channels' middleware
)
MOST_LAYERS = 100
# Where Twisted's requests have the cores that record them.
CORES = "_prom_middleware_cores"
DJANGO_DOOR = re.compile(r"prom_middleware\.django\..*PrometheusMiddleware")


class Layer(NamedTuple):
    """One of what a request passes: the name of its class or function, and where that is from."""

    name: str
    module: str
    thing: object = None


class Door(NamedTuple):
    """A door of ours: its place among the layers, and its options."""

    place: int
    config: Configuration


class Subject(NamedTuple):
    """What is examined."""

    framework: Framework
    layers: list[Layer]
    doors: list[Door]
    routes: list[Route]
    mounted: list[Any]


def subject_of(app: Any) -> Subject:
    """Return how the checks see `app`; building its middleware is all that is done to it."""
    passed = list(things(app))
    framework, core = next(
        ((found, thing) for thing in passed if (found := framework_of(thing)) is not None),
        (FRAMEWORKS[""], passed[-1]),
    )
    return _subject(framework, core, [layer_of(thing) for thing in passed])


def subject_of_project() -> Subject:
    """Return how the checks see the Django project of this process, as its settings have it."""
    return _subject(DJANGO, None, [])


def _subject(framework: Framework, core: Any, layers: list[Layer]) -> Subject:
    layers += [Layer(path.rpartition(".")[2], path) for path in framework.middleware(core)]
    doors = [door for place, layer in enumerate(layers) for door in _doors(place, layer)]
    return Subject(framework, layers, doors, framework.routes(core), list(framework.mounted(core)))


def things(app: Any) -> Iterator[Any]:
    """Yield an application, and what it wraps, from the outermost on."""
    seen: set[int] = set()
    while app is not None and id(app) not in seen and len(seen) < MOST_LAYERS:
        seen.add(id(app))
        yield app
        app = _inner(app)


def _inner(thing: Any) -> Any:
    framework = framework_of(thing)
    if framework is not None:
        return framework.stack(thing)
    if hasattr(thing, "__self__"):  # a framework's own method, at the end
        return None if framework_of(thing.__self__) else thing.__self__
    found = [getattr(thing, name, None) for name in INNER] + _variables(thing)
    by_protocol = _own(thing).get("application_mapping")  # as the router of Channels has it
    if isinstance(by_protocol, dict):
        found.append(by_protocol.get("http"))
    found += _routed(thing)
    return next((one for one in found if callable(one)), None)


def _routed(router: Any) -> list[Any]:
    """Return the whole application among the routes of Channels' router, which has consumers."""
    if type(router).__name__ != "URLRouter":
        return []
    routed = [getattr(route, "callback", None) for route in _own(router).get("routes", ())]
    return [one for one in routed if framework_of(one) or _is_ours(one)]


def _variables(thing: Any) -> list[Any]:
    """Return what a function keeps of what it wraps."""
    names = getattr(getattr(thing, "__code__", None), "co_freevars", ())
    cells = dict(zip(names, getattr(thing, "__closure__", None) or (), strict=True))
    return [content_of(cells[name]) for name in INNER if name in cells]


def content_of(cell: CellType) -> Any:
    """Return what a function's variable has."""
    try:
        return cell.cell_contents
    except ValueError:  # it has none yet
        return None


def layer_of(thing: Any) -> Layer:
    """Return the layer that a thing is."""
    # Starlette's decorator for functions: the function says more than the class around it.
    dispatch = _own(thing).get("dispatch_func")
    named: Any = dispatch if hasattr(dispatch, "__qualname__") else thing
    if not hasattr(named, "__qualname__"):
        named = type(named)
    name = str(named.__qualname__).rpartition("<locals>.")[2]
    return Layer(name.removesuffix(".dispatch"), str(named.__module__), thing)


def _doors(place: int, layer: Layer) -> list[Door]:
    if DJANGO_DOOR.fullmatch(layer.module):
        return [Door(place, configured())]
    cores = getattr(getattr(layer.thing, "requestFactory", None), CORES, ())
    # Asked for, since what is compiled keeps nothing in a dictionary.
    names = ("core", "_core") if _is_ours(layer.thing) else ()
    found = [*cores, *(getattr(layer.thing, name, None) for name in names)]
    return [Door(place, core.config) for core in found if isinstance(core, Instrumentation)]


def _is_ours(thing: object) -> bool:
    return any(kind.__module__.startswith("prom_middleware.") for kind in type(thing).__mro__)


def _own(thing: object) -> dict[str, Any]:
    """Return what is a thing's own: to ask a proxy for an attribute may call anything."""
    return getattr(thing, "__dict__", {})


def configured() -> Configuration:
    """Return the options of the Django project in this process."""
    given = getattr(django_settings(), "PROM_MIDDLEWARE", {})
    return Configuration.from_options(as_taken(given))
