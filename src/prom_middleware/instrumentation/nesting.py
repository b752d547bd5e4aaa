"""How a WSGI door recognises that it runs inside another door, through an adapter.

Adapters do not hand the outer request on to a WSGI application, but they run it with the context of
what called them. Doors that find the outer request itself at hand do not come here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple

from prom_middleware.instrumentation.observation import Observation


class Announced(NamedTuple):
    """An outer door's request: its observation, and what tells it from others."""

    observation: Observation
    key: str
    method: str
    path: str


_current: ContextVar[Announced | None] = ContextVar("prom_middleware", default=None)
# Where to look; Twisted has contexts of its own, and its door adds them here.
sources: list[Callable[[], Announced | None]] = [_current.get]
inner_doors = False


def expect_inner_doors() -> None:
    """Have outer doors announce their requests from now on; a door that may be inside calls it."""
    global inner_doors
    inner_doors = True


def announce(announced: Announced) -> None:
    """Make a request known to what this task calls; worth it where `inner_doors` is set."""
    _current.set(announced)


def outer(key: str, method: str, path: str) -> Observation | None:
    """Return the open observation that `method` and `path` belong to, if one was announced.

    An application may call another one while it serves a request, so the context alone says
    nothing: the method and the end of the path must be the same.
    """
    for source in sources:
        found = source()
        if found is None or found.observation.done or found.key != key:
            continue
        if found.method == method and found.path.endswith(path):
            return found.observation
    return None


def place(observation: Observation) -> str:
    """Return the template of the mount that an outer door's router chose, less its `/{path}`."""
    template = observation.resolver()(observation.request) or ""
    return template.removesuffix("/{path}") if template.endswith("/{path}") else ""
