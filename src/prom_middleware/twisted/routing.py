"""Route templates for trees of resources, which have none.

Segments that stand in a resource's `children` are the template; the first that a resource makes up
itself (`getChild`), with all below it, is `{path}`, also where it keeps what it made as a child.
Klein has rules, and they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from types import CodeType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from twisted.web.resource import Resource

from prom_middleware import failures
from prom_middleware.resources import DEEPEST, behind, children, hosts, original

if TYPE_CHECKING:
    from prom_middleware.instrumentation import Observation

DYNAMIC = "/{path}"
# As a number: given bytes, `in` tries first to make a number of them, and takes ten times as long.
PERCENT = ord("%")
# What Klein adds to the rule of a branch: the rest of the path.
KLEIN_REST = "<path:__rest__>"
# Where a site keeps which children its resources had before the first request.
CHILDREN = "_prom_middleware_children"
# What the code of these names if it keeps what it makes.
KEEPING = frozenset(("putChild", "children"))
MAKING = ("getChild", "getChildWithDefault")
# Where decorators have what they decorate.
WRAPPED = ("__wrapped__", "__func__", "func")
# Something in a closure may have these names, and others, without end.
MOST_LOOKED_AT = 500


class Dialect:
    """How the core reads a Twisted request."""

    def route(self, request: Any) -> str | None:
        """Return the template of the resource that was found."""
        if request.path == b"*":
            return "*"
        if request.site is None:  # a class of the application's has answered by itself
            return None
        segments = request.path[1:].split(b"/")
        if PERCENT in request.path:
            segments = [unquote_to_bytes(segment) for segment in segments]
        return _template(request.site.resource, segments, request)

    def path(self, observation: Observation) -> str:
        """Return the path, decoded; a resource that rewrites it leaves the URI alone."""
        return _decoded(observation.request.uri.partition(b"?")[0])

    def headers(self, request: Any) -> Mapping[str, str]:
        """Return the headers, names in lower case; lines of one name are joined."""
        return {
            name.decode("latin-1").lower(): b", ".join(values).decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        }


def path_of(request: Any) -> str:
    """Return the path, decoded as that of a WSGI application is."""
    return _decoded(request.path)


def _decoded(path: bytes) -> str:
    if PERCENT in path:
        path = unquote_to_bytes(path)
    return path.decode("utf-8", "replace")


def note_children(site: Any) -> None:
    """Note the children of resources that keep what they make up: what comes later is made up.

    It would be known under a part of a raw path otherwise. Called before each request is processed;
    the tree is looked through before the first.
    """
    if CHILDREN in vars(site):
        return
    try:
        # With the resource itself: the identity of one that is gone may be another one's.
        known: dict[int, tuple[Any, frozenset[bytes]]] = {}
        setattr(site, CHILDREN, known)
        keeps = cache(_keeps_children)  # there may be thousands of a kind
        for resource in _tree(site.resource):
            kind: Any = type(resource)
            if keeps(kind):
                known[id(resource)] = resource, frozenset(children(resource))
    except Exception as error:
        failures.report("route", error)


def _keeps_children(kind: type) -> bool:
    """Tell whether the code that makes a child up names what would keep it.

    Many resources make nothing up but themselves, for a slash at the end, and may get children
    at any time.
    """
    return any(not KEEPING.isdisjoint(_named(kind, method)) for method in MAKING)


def _named(kind: type, method: str) -> set[str]:
    """Return what a method names: of a class, its bases, and the methods that it calls of them."""
    named: set[str] = set()
    waiting = [method]
    while waiting:
        name = waiting.pop()
        functions = [vars(base).get(name) for base in kind.__mro__ if base is not Resource]
        found = {other for one in functions for code in _codes(one) for other in code.co_names}
        waiting.extend(found - named)
        named |= found
    return named


def _codes(function: Any) -> Iterator[CodeType]:
    """Yield the code of a function, of those within it, and of what a decorator has of it."""
    seen: set[CodeType] = set()
    waiting = [function]
    for _ in range(MOST_LOOKED_AT):
        if not waiting:
            return
        one = waiting.pop()
        code = one if isinstance(one, CodeType) else getattr(one, "__code__", None)
        waiting.extend(getattr(one, name, None) for name in WRAPPED if hasattr(one, name))
        if not isinstance(code, CodeType) or code in seen:  # what is compiled to C has none
            continue
        seen.add(code)
        yield code
        waiting.extend(code.co_consts)
        for cell in getattr(one, "__closure__", None) or ():
            with suppress(ValueError):  # it is empty
                waiting.append(cell.cell_contents)


def _tree(root: Any) -> Iterator[Any]:
    waiting, seen = [root], set()
    while waiting:
        resource = behind(waiting.pop())
        if id(resource) not in seen:
            seen.add(id(resource))
            yield resource
            waiting.extend(children(resource).values())
            waiting.extend(hosts(resource))


def _template(resource: Any, segments: list[bytes], request: Any) -> str | None:
    static = ""
    for index, segment in enumerate(segments):
        # Most of a tree are plain resources: what has nothing but children is asked for those only.
        plain = type(resource) is Resource and not resource.isLeaf
        child = resource.children.get(segment) if plain else None
        if child is None:
            resource = _behind(resource, request)
            if hasattr(getattr(resource, "_app", None), "url_map"):
                return _klein_rule(static, resource._app.url_map, segments[index:], request)
            child = None if resource.isLeaf else _child(resource, segment, request)
            if child is None:
                return _made_up(static, resource, segments[index:], request)
        static += "/" + segment.decode("utf-8", "replace")
        resource = child
    resource = _behind(resource, request)
    if hasattr(getattr(resource, "_app", None), "url_map"):
        return _klein_rule(static, resource._app.url_map, [], request)
    return static


def _behind(resource: Any, request: Any) -> Any:
    """Return what wrappers, and a NameVirtualHost, stand for in this request; or what it is."""
    for _ in range(DEEPEST):
        found = original(resource)
        if found is None:
            found = _of_host(resource, request)
        if found is None:
            break
        resource = found
    return resource


def _of_host(resource: Any, request: Any) -> Any:
    """Return what a NameVirtualHost has for the request, or None: for others, or for nothing."""
    named = getattr(resource, "hosts", None)
    if not isinstance(named, Mapping):
        return None
    host = request.requestHeaders.getRawHeaders(b"host", (b"",))[-1]
    return named.get(host.lower().partition(b":")[0], getattr(resource, "default", None))


def _child(resource: Any, segment: bytes, request: Any) -> Any:
    """Return the child of that name, unless the resource has made it up; None where there is none.

    Of a resource that came after the first request, nobody knows: its children stand.
    """
    child = children(resource).get(segment)
    if child is None:
        return None
    _, noted = getattr(request.site, CHILDREN, {}).get(id(resource), (None, None))
    return child if noted is None or segment in noted else None


def _made_up(static: str, resource: Any, rest: list[bytes], request: Any) -> str | None:
    """Return the template where a resource answers for what is no child of it, or None."""
    if not (resource.isLeaf or _makes_children(type(resource))):
        return None
    if not static and request.code == 404:  # the root had nothing there, so nothing matched
        return None
    return static + ("/" if rest == [b""] else DYNAMIC)


def _makes_children(kind: type) -> bool:
    return (
        getattr(kind, "getChild", None) is not Resource.getChild
        or getattr(kind, "getChildWithDefault", None) is not Resource.getChildWithDefault
    )


def _klein_rule(static: str, url_map: Any, rest: list[bytes], request: Any) -> str | None:
    from prom_middleware.werkzeug import matching_rule  # no other site needs werkzeug

    # Without a slash after the resource there is no path: Klein redirects to the one with it.
    path = "/" + b"/".join(rest).decode("utf-8", "replace") if rest else ""
    rule = matching_rule(_adapter(url_map, request), path, request.method.decode("latin-1"))
    return None if rule is None else static + str(rule.rule).replace(KLEIN_REST, "{path}")


def _adapter(url_map: Any, request: Any) -> Any:
    """Return what Klein has matched the request with, which knows the host, if it came to that."""
    from klein.interfaces import IKleinRequest

    adapter = getattr(IKleinRequest(request, None), "mapper", None)
    if getattr(adapter, "map", None) is url_map:
        return adapter
    return url_map.bind("localhost")  # it was answered before Klein came to match it
