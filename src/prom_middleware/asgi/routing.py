"""Route templates of Starlette and FastAPI, read from the scope that their routers fill in.

Nothing of theirs is imported: a router is whatever has `routes`. Their own matching leaves the
endpoint in the scope, and the endpoint is looked up in a table made once from the tree of routes.
Only where an endpoint stands in several places are the templates tried against the path, and where
a mount is opaque: what it leads to is found when it was led to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prom_middleware import failures

Scope = Mapping[str, Any]

# How a Mount's regex and template end; https://www.starlette.io/routing/#submounting-routes
_MOUNT_REGEX_TAIL = "/(?P<path>.*)$"
_MOUNT_TAIL = "/{path}"
_GROUP_NAME = r"\(\?P<\w+>"
_DEEPEST = 16  # an application may be mounted in itself
_MOST_TABLES = 64  # an application may make routers as it runs
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
    nobody sees, and matches what is above them.
    """

    def __init__(
        self,
        template: str,
        endpoint: object,
        route: object,
        regex: re.Pattern[str],
        host: re.Pattern[str] | None = None,
        scope_type: str | None = None,
        methods: frozenset[str] | None = None,
        prefix: str | None = None,
        inner: int = 0,
        above: re.Pattern[str] | None = None,
    ) -> None:
        self.template, self.endpoint, self.route = template, endpoint, route
        self.regex, self.host = regex, host
        self.scope_type, self.methods = scope_type, methods
        self.prefix, self.inner, self.above = prefix, inner, above

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
            and (self.host is None or self.host.match(_host(scope)) is not None)
        )


class Branch:
    """What stands above some routes."""

    def __init__(
        self,
        template: str = "",
        regex: str = "^",
        host: re.Pattern[str] | None = None,
        depth: int = 0,
    ) -> None:
        self.template, self.regex, self.host, self.depth = template, regex, host, depth


class Routes:
    """The table of one root router's tree of `routes`."""

    def __init__(self, routes: Sequence[Any]) -> None:
        self.routes = routes  # kept, so that its identity stays its own
        self.read()

    def read(self) -> None:
        """Read the tree of routes, again where it has changed."""
        self._seen = _fingerprint(self.routes)
        self._entries = list(_walk(self.routes, Branch()))
        self._opaque = [entry for entry in self._entries if entry.above is not None]
        self._hosted = any(entry.prefix is not None for entry in self._opaque)
        self._before = tuple(entry.template.partition("{")[0] for entry in self._opaque)
        # For how many routes `single` tells all: an opaque mount may lead to the same endpoints.
        self.size = -1 if self._opaque else len(self._seen)
        self._by_endpoint: dict[int, list[Entry]] = {}
        self._by_route: dict[tuple[int, int], list[Entry]] = {}
        for entry in self._entries:
            endpoint = id(entry.endpoint)
            self._by_endpoint.setdefault(endpoint, []).append(entry)
            self._by_route.setdefault((endpoint, id(entry.route)), []).append(entry)
        # The hot look-up: endpoints that always stand under the same template.
        self.single = {
            endpoint: entries[0].template
            for endpoint, entries in self._by_endpoint.items()
            if len({entry.template for entry in entries}) == 1 and entries[0].prefix is None
        }

    def refresh(self, scope: Scope) -> None:
        """Read the routes again if some were added: below a mount, the endpoint is unknown then."""
        endpoint = scope.get("endpoint")
        unknown = endpoint is not None and id(endpoint) not in self._by_endpoint
        added = len(self.routes) != len(self._seen)
        if added or (unknown and self._seen != _fingerprint(self.routes)):
            self.read()

    @property
    def entries(self) -> Sequence[Entry]:
        """Return all places, in the order in which the routers try them."""
        return self._entries

    def routed(self, scope: Scope) -> str | None:
        """Return the template that the routers chose, where `single` does not tell it."""
        endpoint = scope.get("endpoint")
        if endpoint is None:
            return _frontend(scope)
        return self.single.get(id(endpoint)) or self._among(scope)

    def besides(self, scope: Scope) -> str | None:
        """Return what `single` tells, if no opaque mount can have led to its endpoint."""
        if self._below_opaque(scope) or len(self.routes) != len(self._seen):
            return None
        return self.single.get(id(scope.get("endpoint")))

    def passed(self, scope: Scope) -> Entry | None:
        """Return the opaque mount that led to the endpoint of `scope`, if one did."""
        if not self._below_opaque(scope):
            return None
        path = path_below_root(scope)
        above = [entry for entry in self._opaque if entry.matches(scope, path)]
        if not above or above[0].endpoint is scope.get("endpoint"):
            return None
        found = self._search(scope, path)
        return found if found in above else None

    def place(self, scope: Scope, path: str) -> str | None:
        """Return the template of the endpoint of `scope`, if that stands here at `path`."""
        entries = self._standing(scope)
        if entries and entries[0].prefix is not None:
            return _template(self._search(scope, path))
        found = [entry for entry in entries if entry.matches(scope, path)]
        taking = [entry for entry in found if entry.takes(scope)]
        return next((entry.template for entry in taking or found), None)

    def search(self, scope: Scope) -> str | None:
        """Return the template that the routers would choose; for a request that never got there."""
        self.refresh(scope)
        return _template(self._search(scope, path_below_root(scope)))

    def _below_opaque(self, scope: Scope) -> bool:
        # The first mount that is passed leaves `app_root_path`; a host leaves nothing.
        passed = "app_root_path" in scope or self._hosted
        return passed and path_below_root(scope).startswith(self._before)

    def _standing(self, scope: Scope) -> Sequence[Entry]:
        endpoint = id(scope["endpoint"])
        among = self._by_route.get((endpoint, id(_route(scope))))
        return among or self._by_endpoint.get(endpoint) or ()

    def _among(self, scope: Scope) -> str | None:
        entries = self._standing(scope)
        if not entries:  # a route class that makes its endpoint anew for every request
            bare = getattr(scope.get("route"), "path_format", None)
            return self.search(scope) if bare is None or "app_root_path" in scope else bare
        if len(entries) == 1 and entries[0].prefix is None:
            return entries[0].template
        return self.place(scope, path_below_root(scope))

    def _search(self, scope: Scope, path: str) -> Entry | None:
        """Return the place that the routers would choose for `path`.

        The first full match wins, else the first whose methods differ (405). Nothing beside a
        mount is tried once its prefix has matched.
        """
        partial, at = None, -1
        for index, entry in enumerate(self._entries):
            if not entry.matches(scope, path):
                continue
            if entry.prefix is not None:
                return partial if at >= index - entry.inner else entry
            if entry.takes(scope):
                return entry
            if partial is None:
                partial, at = entry, index
        return partial


def path_below_root(scope: Scope) -> str:
    """Return the path without the server's own root path, in-app mounts included."""
    return path_below(scope.get("app_root_path", scope.get("root_path")) or "", scope)


def path_below(root: str, scope: Scope) -> str:
    """Return the path without `root`, or whole where it is not below that."""
    path: str = scope["path"]
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :]
    return path


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
    # FastAPI keeps included routers as they are and gives the prefixed routes in "contexts".
    contexts = getattr(route, "effective_route_contexts", None)
    if contexts is None:
        yield from _entries(route, route, branch)
        return
    for context in contexts():
        yield from _entries(context.starlette_route or context, context, branch)


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
            host=branch.host,
            scope_type="http" if hasattr(route, "methods") else "websocket",
            methods=frozenset(methods) if methods else None,
        )


def _mount_entries(route: Any, key: object, branch: Branch) -> Iterator[Entry]:
    template = branch.template + route.path_format
    prefix = template.removesuffix(_MOUNT_TAIL)
    regex = branch.regex + route.path_regex.pattern[1:].removesuffix(_MOUNT_REGEX_TAIL)
    below = Branch(prefix, regex, branch.host, branch.depth + 1)
    inner = list(_walk(routes_of(route.app), below))
    yield from inner
    yield Entry(
        template,
        route.app,
        key,
        _compile(branch, route),
        branch.host,
        prefix=prefix if inner else None,
        inner=len(inner),
        above=None if inner or _is_leaf(route.app) else _nameless(regex),
    )


def _host_entries(route: Any, key: object, branch: Branch) -> Iterator[Entry]:
    below = Branch(branch.template, branch.regex, route.host_regex, branch.depth + 1)
    inner = list(_walk(routes_of(route.app), below))
    yield from inner
    # A host has no path to be named by: what misses its routes is a miss of the branch.
    template = branch.template + _MOUNT_TAIL if branch.template else ""
    anything = re.compile(f"{branch.regex}/")
    yield Entry(
        template,
        route.app,
        key,
        anything,
        route.host_regex,
        prefix=branch.template,
        inner=len(inner),
        above=None if inner or _is_leaf(route.app) else _nameless(branch.regex),
    )


def _compile(branch: Branch, route: Any) -> re.Pattern[str]:
    return _nameless(branch.regex + route.path_regex.pattern[1:])


def _nameless(regex: str) -> re.Pattern[str]:
    # Names are dropped, since a mount and a route below it may use the same.
    return re.compile(re.sub(_GROUP_NAME, "(?:", regex))


def _is_leaf(app: object) -> bool:
    classes = (base for layer in _layers(app) for base in type(layer).__mro__)
    return any(f"{base.__module__}.{base.__qualname__}" in _LEAVES for base in classes)


def _fingerprint(routes: Iterable[Any]) -> list[tuple[int, int]]:
    return [(id(route), _size(route)) for route in routes]


def _size(route: object) -> int:
    try:
        return len(getattr(route, "routes", None) or ())
    except Exception:  # something else that has this name
        return 0


def _route(scope: Scope) -> object:
    route = scope.get("route")
    context = _fastapi(scope).get("effective_route_context")
    return context if getattr(context, "original_route", None) is route else route


def _template(entry: Entry | None) -> str | None:
    return None if entry is None else entry.template


def _bare(scope: Scope, path: str) -> str | None:
    route = scope.get("route")
    regex = getattr(route, "path_regex", None)
    if regex is None or regex.match(path) is None:
        return None
    return getattr(route, "path_format", None)


def _frontend(scope: Scope) -> str | None:
    # FastAPI's static frontends leave the rest of the path, and no endpoint.
    rest = _fastapi(scope).get("frontend_path")
    if rest is None:
        return None
    return path_below_root(scope).removesuffix(rest).rstrip("/") + _MOUNT_TAIL


def _fastapi(scope: Scope) -> Mapping[str, Any]:
    found = scope.get("fastapi")
    return found if isinstance(found, dict) else {}


def _host(scope: Scope) -> str:
    for name, value in scope.get("headers") or ():
        if name == b"host":
            host: str = value.decode("latin-1")
            return host if host.endswith("]") else re.sub(r":\d*$", "", host)
    return ""


class Router:
    """Find the template of a scope: from its own root router, or from the application's routes."""

    def __init__(self, app: object) -> None:
        self._app = app
        self._routes: Sequence[Any] | None = None
        self._bare = False  # whether the application is known to have no routes
        # By the identity of the list of routes; a process has few root routers, mostly one.
        self._tables: dict[int, Routes] = {}
        self._last = Routes(())  # the table that was used last, at hand

    def template(self, scope: Scope) -> str | None:
        """Return the template of `scope`, or None where nothing matches."""
        if "router" not in scope:
            # Answered before it was routed; or there is no router at all.
            return None if self._bare and "app" not in scope else self._unrouted(scope)
        routes, last = scope["router"].routes, self._last
        try:
            if routes is last.routes and len(routes) == last.size:
                return last.single[id(scope["endpoint"])]
        except KeyError:
            pass
        return self._routed(scope, routes)

    def _routed(self, scope: Scope, routes: Sequence[Any]) -> str | None:
        table = self._last
        if routes is not table.routes:
            self._last = table = self._table(routes)
        template = table.besides(scope) if table.size < 0 else None
        if template is not None:
            return template
        table.refresh(scope)
        mount = table.passed(scope)
        return table.routed(scope) if mount is None else self._below(mount, scope)

    def _below(self, mount: Entry, scope: Scope) -> str:
        """Return the template of what an opaque mount led to.

        Where the application that served the request is not right below it, or is none, nobody
        knows what stands between: then the mount's own.
        """
        path = mount.rest(path_below_root(scope))
        table = self._table(routes_of(scope.get("app")))
        table.refresh(scope)
        template = table.place(scope, path) or _bare(scope, path)
        return mount.template.removesuffix(_MOUNT_TAIL) + template if template else mount.template

    def _unrouted(self, scope: Scope) -> str | None:
        # Answered before it was routed. The wrapped application comes first, because `scope["app"]`
        # may be one that ours is mounted in.
        if self._routes is None:
            self._routes = routes_of(self._app)
            self._bare = self._routes == ()
        routes = self._routes
        if not routes and "app" in scope:
            routes = routes_of(scope["app"])
        return self._table(routes).search(scope) if routes else None

    def _table(self, routes: Sequence[Any]) -> Routes:
        table = self._tables.get(id(routes))
        if table is None:
            if len(self._tables) >= _MOST_TABLES:
                self._tables.clear()
            table = self._tables[id(routes)] = Routes(routes)
        return table
