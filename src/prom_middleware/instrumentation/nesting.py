"""Doors inside of one another: whether they serve the same request, and what mounts are between.

A door that finds the outer request in its own scope or environ asks `is_another`. Adapters (a2wsgi,
Twisted's WSGIResource) do not hand the outer request on, but run what they call in the context of
their caller: there an outer door announces its request, and an inner one looks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import ContextVar
from typing import Any
from weakref import ref

from prom_middleware.instrumentation.observation import Observation

MOST_PREFIXES = 64  # for each door; a path's first part may be what a client invents


class Announced:
    """An outer door's request: its observation, and what tells it from others.

    `path` is whole, the server's `root` included. A task that an application leaves behind keeps
    the context that it was made in for as long as it runs: with this, but not with the request.
    """

    __slots__ = ("_observation", "key", "method", "path", "root")

    def __init__(
        self, observation: Observation, key: str, method: str, root: str, path: str
    ) -> None:
        self._observation, self.key = ref(observation), key
        self.method, self.root, self.path = method, root, path

    def open(self) -> Observation | None:
        """Return the observation while the request lasts."""
        observation = self._observation()
        return None if observation is None or observation.done else observation


class Prefixes:
    """The mounts of dispatchers, which have no templates: part of the path, so only so many."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def label(self, prefix: str) -> str:
        """Return what stands for a mount in labels: itself, or `/{path}` for one too many."""
        if not prefix or prefix in self._known:
            return prefix
        if len(self._known) >= MOST_PREFIXES:
            return "/{path}"
        self._known.add(prefix)
        return prefix


def _no_mounts(environ: Mapping[str, Any], observation: Any) -> str:
    return ""


_current: ContextVar[tuple[Announced, ...]] = ContextVar("prom_middleware", default=())
# Where to look; Twisted has contexts of its own, and its door adds them here.
sources: list[Callable[[], tuple[Announced, ...]]] = [_current.get]
# What the mounts above a WSGI environ are; its door, which has an observation in there, tells it.
place_of: Callable[[Mapping[str, Any], Any], str] = _no_mounts
# Whether there are doors in this process that may be inside, or outside: without, nobody looks.
inner_doors = outer_doors = False


def expect_inner_doors() -> None:
    """Have outer doors announce their requests from now on; a door that may be inside calls it."""
    global inner_doors
    inner_doors = True


def expect_outer_doors() -> None:
    """Have inner doors look for announced requests from now on; a door that announces calls it."""
    global outer_doors
    outer_doors = True


def is_another(outer: Any, request: Mapping[str, Any], *, again: bool = False) -> bool:
    """Tell whether `request` is a copy that an application made to ask for something else.

    A batch of requests is served so. Middleware rewrites the path or the method of one, for which
    it may copy it as well: it is another one where both are; or one of them, where it comes to the
    same door `again` after it was routed.
    """
    before = outer.request
    if before is request or not isinstance(before, Mapping):
        return False
    routed = again and "endpoint" in before
    is_wsgi = "REQUEST_METHOD" in request
    names = ("REQUEST_METHOD", "PATH_INFO") if is_wsgi else ("method", "path")
    changed = [one for one in names if before.get(one, request.get(one)) != request.get(one)]
    return len(changed) == 2 or (routed and bool(changed))


def announce(announced: Announced) -> None:
    """Make a request known to what this task calls; worth it where `inner_doors` is set."""
    around = (other for other in _current.get() if other.open() is not None)
    _current.set((announced, *around))


def outer(key: str, method: str, paths: Collection[str]) -> tuple[Announced, Observation] | None:
    """Return the open request of the registry with `key` that came with one of `paths`, if any.

    An application may call another one while it serves a request, so the context alone says
    nothing: method and path must be the same.
    """
    return next((found for found in _open(method, paths) if found[0].key == key), None)


def discard(method: str, paths: Collection[str]) -> None:
    """Forget the announced requests of all registries: it is a scrape."""
    for _, observation in _open(method, paths):
        observation.discard()


def chosen_mount(observation: Observation) -> str:
    """Return the template of the mount that an outer door's router chose, less its `/{path}`."""
    template = observation.resolve(observation.request) or ""
    return template.removesuffix("/{path}") if template.endswith("/{path}") else ""


def _open(method: str, paths: Collection[str]) -> Iterator[tuple[Announced, Observation]]:
    for source in sources:
        for found in source():
            same = found.method == method and found.path in paths
            observation = found.open() if same else None
            if observation is not None:
                yield found, observation
