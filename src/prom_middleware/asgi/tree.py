"""The tree of routes of Starlette and FastAPI, read into the places that it leads to.

Nothing of theirs is imported: a router is whatever has `routes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prom_middleware import failures
from prom_middleware.asgi.scopes import Scope

Hosts = tuple[re.Pattern[str], ...]

# How a Mount's regex and template end; https://www.starlette.io/routing/#submounting-routes
_MOUNT_REGEX_TAIL = "/(?P<path>.*)$"
MOUNT_TAIL = "/{path}"
_GROUP_NAME = r"\(\?P<\w+>"
_DEEPEST = 16  # an application may be mounted in itself
# What has no routes, and leads to none. Any other mount may: `Mount("/api", wrapper(FastAPI()))`.
_LEAVES = {
    "starlette.staticfiles.StaticFiles",
    "starlette.middleware.wsgi.WSGIMiddleware",
    "a2wsgi.wsgi.WSGIMiddleware",
    "asgiref.wsgi.WsgiToAsgi",
    "django.core.handlers.asgi.ASGIHandler",
    "prom_middleware.exposition.asgi.MetricsApp",
}


class Entry:
    """One place in the tree of routes.

    `regex` matches the whole path below the root, `route` is the framework's own object. `prefix`
    is set in the entry of a mount with routes of its own: it stands for what misses all of them,
    the `inner` entries before it. `above` is set in the entry of a mount that may have routes which
    nobody sees, and matches what is above them. `mounted` is what stands below any mount.
    """

    def __init__(
        self,
        template: str,
        endpoint: object,
        route: object,
        regex: re.Pattern[str],
        hosts: Hosts = (),
        scope_type: str | None = None,
        methods: frozenset[str] | None = None,
        prefix: str | None = None,
        inner: int = 0,
        above: re.Pattern[str] | None = None,
    ) -> None:
        self.template, self.endpoint, self.route = template, endpoint, route
        self.regex, self.hosts = regex, hosts
        self.scope_type, self.methods = scope_type, methods
        self.prefix, self.inner, self.above = prefix, inner, above
        self.at = -1  # how many are tried before it; the table says it
        self.mounted = False

    def takes(self, scope: Scope) -> bool:
        """Tell whether the method of `scope` is one of this place's."""
        return self.methods is None or scope["method"] in self.methods

    def rest(self, path: str) -> str:
        """Return what is left of `path` below an opaque mount."""
        matched = self.above.match(path) if self.above is not None else None
        return "" if matched is None else path[matched.end() :]

    def matches(self, scope: Scope, path: str) -> bool:
        """Tell whether this place is where `scope` leads to, whatever its method."""
        return (
            self.scope_type in (None, scope["type"])
            and self.regex.match(path) is not None
            and all(host.match(_host(scope)) for host in self.hosts)
        )


class Branch:
    """What stands above some routes."""

    def __init__(
        self,
        template: str = "",
        regex: str = "^",
        hosts: Hosts = (),
        depth: int = 0,
        missed: str = "",
    ) -> None:
        self.template, self.regex, self.hosts, self.depth = template, regex, hosts, depth
        self.missed = missed  # the innermost mount's template


def places(routes: Iterable[Any]) -> list[Entry]:
    """Return all places that `routes` lead to, in the order in which the routers try them."""
    return list(_walk(routes, Branch()))


def routes_of(app: object) -> Sequence[Any]:
    """Return the routes of `app`, or of what it wraps as middleware does, in `app`."""
    for layer in _layers(app):
        routes = getattr(layer, "routes", None)
        if isinstance(routes, list):
            return routes
    return ()


def _layers(app: object) -> Iterator[object]:
    for _ in range(_DEEPEST):
        if app is None:
            return
        yield app
        app = getattr(app, "app", None)


def _walk(routes: Iterable[Any], branch: Branch) -> Iterator[Entry]:
    if branch.depth > _DEEPEST:
        return
    for route in routes:
        try:
            found = list(_places(route, branch))
        except Exception as error:  # another framework's, at most: it costs what it stands for
            failures.report("route", error)
        else:
            yield from found


def _places(route: Any, branch: Branch) -> Iterator[Entry]:
    for each, key in _served(route):
        yield from _entries(each, key, branch)


def _served(route: Any) -> Iterator[tuple[Any, object]]:
    # FastAPI keeps included routers as they are and gives the prefixed routes in "contexts".
    contexts = getattr(route, "effective_route_contexts", None)
    if contexts is None:
        yield route, route
        return
    for context in contexts():
        yield context.starlette_route or context, context


def _entries(route: Any, key: object, branch: Branch) -> Iterator[Entry]:
    if hasattr(route, "host_regex"):
        yield from _host_entries(route, key, branch)
    elif not getattr(route, "path_format", None) or not hasattr(route, "path_regex"):
        return  # other frameworks have `routes`, too
    elif hasattr(route, "routes"):
        yield from _mount_entries(route, key, branch)
    elif hasattr(route, "endpoint"):
        methods = getattr(route, "methods", None)
        yield Entry(
            template=branch.template + route.path_format,
            endpoint=route.endpoint,
            route=key,
            regex=_compile(branch, route),
            hosts=branch.hosts,
            scope_type="http" if hasattr(route, "methods") else "websocket",
            methods=frozenset(methods) if methods else None,
        )


def _mount_entries(route: Any, key: object, branch: Branch) -> Iterator[Entry]:
    template = branch.template + route.path_format
    prefix = template.removesuffix(MOUNT_TAIL)
    regex = branch.regex + _piece(route, _MOUNT_REGEX_TAIL)
    below = Branch(prefix, regex, branch.hosts, branch.depth + 1, template)
    inner = list(_walk(_routes_below(route), below))
    for entry in inner:
        entry.mounted = True
    yield from inner
    yield Entry(
        template,
        route.app,
        key,
        _compile(branch, route),
        branch.hosts,
        prefix=prefix if inner else None,
        inner=len(inner),
        above=None if inner or _is_leaf(route.app) else _nameless(regex),
    )


def _routes_below(mount: Any) -> Sequence[Any]:
    # A mount tells its routes even where its middleware does not show what it wraps. What has
    # routes and no application is a group of them.
    routes = routes_of(getattr(mount, "app", None)) or getattr(mount, "routes", ())
    return routes if isinstance(routes, list) else ()


def _host_entries(route: Any, key: object, branch: Branch) -> Iterator[Entry]:
    hosts = (*branch.hosts, route.host_regex)  # one below another: both have to match
    below = Branch(branch.template, branch.regex, hosts, branch.depth + 1, branch.missed)
    inner = list(_walk(routes_of(route.app), below))
    yield from inner
    # A host has no path to be named by: what misses its routes is a miss of the branch.
    anything = _nameless(f"{branch.regex}/")
    yield Entry(
        branch.missed,
        route.app,
        key,
        anything,
        hosts,
        prefix=branch.template,
        inner=len(inner),
        above=None if inner or _is_leaf(route.app) else _nameless(branch.regex),
    )


def _compile(branch: Branch, route: Any) -> re.Pattern[str]:
    return _nameless(branch.regex + _piece(route))


def _piece(route: Any, tail: str = "") -> str:
    """Return what the route's regex adds to those above it, less `tail`."""
    pattern: str = route.path_regex.pattern[1:].removesuffix(tail)
    # A route class may have its path in either case; those above and below have theirs.
    either_case = getattr(route.path_regex, "flags", 0) & re.IGNORECASE
    return f"(?i:{pattern})" if either_case else pattern


def _nameless(regex: str) -> re.Pattern[str]:
    # Names are dropped, since a mount and a route below it may use the same.
    return re.compile(re.sub(_GROUP_NAME, "(?:", regex))


def _is_leaf(app: object) -> bool:
    classes = (base for layer in _layers(app) for base in type(layer).__mro__)
    return any(f"{base.__module__}.{base.__qualname__}" in _LEAVES for base in classes)


def fingerprint(routes: Iterable[Any], depth: int = 0) -> list[int]:
    """Return what is another one once routes were added, here or anywhere below these."""
    seen: list[int] = []
    if depth <= _DEEPEST:
        for route in routes:
            seen.append(id(route))
            seen += _seen_below(route, depth + 1)
    return seen


def _seen_below(route: Any, depth: int) -> list[int]:
    seen: list[int] = []
    try:
        for each, key in _served(route):
            seen.append(id(key))
            if hasattr(each, "routes"):
                seen += fingerprint(_routes_below(each), depth)
    except Exception as error:  # another framework's, at most
        failures.report("route", error)
    return seen


def lists_of(routes: Sequence[Any], depth: int = 0) -> list[Sequence[Any]]:
    """Return `routes`, and the lists anywhere below these that routes may be added to."""
    found = [routes]
    if depth <= _DEEPEST:
        for route in routes:
            below = _list_below(route)
            if isinstance(below, list):
                found += lists_of(below, depth + 1)
    return found


def _list_below(route: Any) -> Sequence[Any]:
    try:  # FastAPI keeps included routers as they are
        return _routes_below(getattr(route, "original_router", route))
    except Exception as error:  # another framework's
        failures.report("route", error)
        return ()


def _host(scope: Scope) -> str:
    for name, value in scope.get("headers") or ():
        if name == b"host":
            return re.sub(r":\d*$", "", value.decode("latin-1"))
    return ""
