"""Route templates of Starlette and FastAPI, read from the scope that their routers fill in.

Their own matching leaves the endpoint in the scope, and the endpoint is looked up in a table made
once from the tree of routes. Only where an endpoint stands in several places are the templates
tried against the path, and where a mount is opaque: what it leads to is found when it was led to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from prom_middleware.asgi.scopes import Scope, path_below_root, strips_mounts
from prom_middleware.asgi.tree import (
    MOUNT_TAIL,
    Entry,
    fingerprint,
    lists_of,
    places,
    routes_of,
)

_MOST_TABLES = 64  # an application may make routers as it runs
_MOST_STRANGERS = 64  # a route class may make its endpoint anew for every request


class Routes:
    """The table of one root router's tree of `routes`."""

    def __init__(self, routes: Sequence[Any]) -> None:
        self.routes = routes  # kept, so that its identity stays its own
        self.read()

    def read(self) -> None:
        """Read the tree of routes, again where it has changed."""
        self._count, self._seen = len(self.routes), fingerprint(self.routes)
        self._lists = lists_of(self.routes)
        self._lengths = list(map(len, self._lists))
        self._strangers: set[int] = set()
        self._entries = places(self.routes)
        self._opaque = [entry for entry in self._entries if entry.above is not None]
        self._hosted = any(entry.prefix is not None for entry in self._opaque)
        self._before = tuple(entry.template.partition("{")[0] for entry in self._opaque)
        # For how many routes `single` tells all: an opaque mount may lead to the same endpoints.
        self.size = -1 if self._opaque else self._count
        self._by_endpoint: dict[int, list[Entry]] = {}
        self._by_route: dict[tuple[int, int], list[Entry]] = {}
        for at, entry in enumerate(self._entries):
            entry.at, endpoint = at, id(entry.endpoint)
            self._by_endpoint.setdefault(endpoint, []).append(entry)
            self._by_route.setdefault((endpoint, id(entry.route)), []).append(entry)
        self.single = _single(self._entries)

    def refresh(self, scope: Scope) -> bool:
        """Read the routes again if there are more or fewer, or others: strangers to us."""
        endpoint = scope.get("endpoint")
        added = list(map(len, self._lists)) != self._lengths
        if endpoint is not None and id(endpoint) not in self._by_endpoint:
            added = added or self._added(scope.get("route") or endpoint)
        if added:
            self.read()
        return added

    def _added(self, stranger: object) -> bool:
        """Tell whether routes were added in the place of others.

        All of them are looked at once for each stranger: that would cost each request to what
        nobody sees, below a mount. After that, only how many there are in each list tells; also
        where the stranger is another one, that has taken the place of one that is gone.
        """
        if id(stranger) in self._strangers or len(self._strangers) >= _MOST_STRANGERS:
            return False
        self._strangers.add(id(stranger))
        return self._seen != fingerprint(self.routes)

    @property
    def entries(self) -> Sequence[Entry]:
        """Return all places, in the order in which the routers try them."""
        return self._entries

    def routed(self, scope: Scope) -> str | None:
        """Return the template that the routers chose, where `single` does not tell it."""
        endpoint = scope.get("endpoint")
        if endpoint is None:
            return _frontend(scope)
        return self._among(scope)

    def known(self, scope: Scope) -> str | None:
        """Return what `single` tells, if no routes were added."""
        if len(self.routes) != self._count:
            return None
        try:
            return self.single.get(scope.get("endpoint"))
        except Exception:  # an endpoint without a hash, or with one of its own
            return None

    def passed(self, scope: Scope) -> Entry | None:
        """Return the opaque mount that led to the endpoint of `scope`, if one did."""
        if not self._below_opaque(scope):
            return None
        path, endpoint = path_below_root(scope), scope.get("endpoint")
        above = next((entry for entry in self._opaque if entry.matches(scope, path)), None)
        if above is None or endpoint is None or endpoint is above.endpoint:
            return None
        # The routers came to the endpoint before, or it is what stands above the opaque mount and
        # answered itself; that is told without a look at all places.
        before = [entry for entry in self._standing(scope) if entry.at - entry.inner <= above.at]
        return None if any(entry.matches(scope, path) for entry in before) else above

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
        partial: list[Entry] = []
        whole = not strips_mounts(scope)
        for entry in self._entries:
            if (whole and entry.mounted) or not entry.matches(scope, path):
                continue
            if entry.prefix is not None:
                inside = (one for one in partial if one.at >= entry.at - entry.inner)
                return next(inside, entry)
            if entry.takes(scope):
                return entry
            partial.append(entry)
        return partial[0] if partial else None


def _single(entries: Sequence[Entry]) -> dict[object, str]:
    """Return the hot look-up: the endpoints that always stand under the same template.

    By themselves: to ask for an identity takes longer than the look-up. What equals another one,
    as a proxy does what it stands for, is one of several.
    """
    equal: dict[object, list[Entry]] = {}
    for entry in entries:
        with suppress(Exception):  # one without a hash, or with one of its own
            equal.setdefault(entry.endpoint, []).append(entry)
    return {
        endpoint: among[0].template
        for endpoint, among in equal.items()
        if len({entry.template for entry in among}) == 1 and among[0].prefix is None
    }


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
    return path_below_root(scope).removesuffix(rest).rstrip("/") + MOUNT_TAIL


def _frontend_ahead(scope: Scope) -> str | None:
    # What FastAPI's router tries last, and does not show: it alone knows which is the nearest.
    # Asked by its class: other frameworks' routers take any name for a method of HTTP.
    router = getattr(scope.get("app"), "router", None)
    match = getattr(type(router), "_match_low_priority", None)
    return None if match is None else _frontend({**scope, **match(router, scope)[1]})


def _fastapi(scope: Scope) -> Mapping[str, Any]:
    found = scope.get("fastapi")
    return found if isinstance(found, dict) else {}


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
                return last.single[scope["endpoint"]]
        except Exception:  # noqa: S110 - it is not in there, has no hash, or one of its own
            pass
        return self._routed(scope, routes)

    def _routed(self, scope: Scope, routes: Sequence[Any]) -> str | None:
        table = self._last
        if routes is not table.routes:
            self._last = table = self._table(routes)
        mount = table.passed(scope)
        template = table.known(scope) if mount is None else self._below(mount, scope)
        # Looked for last: all routes are gone through for an endpoint that is unknown.
        if template is None and table.refresh(scope):
            mount = table.passed(scope)
            template = None if mount is None else self._below(mount, scope)
        if template is None:
            template = table.routed(scope) if mount is None else table.search(scope)
        return template

    def _below(self, mount: Entry, scope: Scope) -> str | None:
        """Return the template of what an opaque mount led to.

        Where the application that served the request is not right below it, or is none, nobody
        knows what stands between.
        """
        path = mount.rest(path_below_root(scope)) if strips_mounts(scope) else scope["path"]
        table = self._table(routes_of(scope.get("app")))
        table.refresh(scope)
        template = table.place(scope, path) or _bare(scope, path)
        return mount.template.removesuffix(MOUNT_TAIL) + template if template else None

    def _unrouted(self, scope: Scope) -> str | None:
        # Answered before it was routed. The wrapped application comes first, because `scope["app"]`
        # may be one that ours is mounted in.
        if self._routes is None:
            self._routes = routes_of(self._app)
            self._bare = self._routes == ()
        routes = self._routes
        if not routes and "app" in scope:
            routes = routes_of(scope["app"])
        found = self._table(routes).search(scope) if routes else None
        return found or _frontend_ahead(scope)

    def _table(self, routes: Sequence[Any]) -> Routes:
        table = self._tables.get(id(routes))
        if table is None:
            if len(self._tables) >= _MOST_TABLES:
                self._tables.clear()
            table = self._tables[id(routes)] = Routes(routes)
        return table
