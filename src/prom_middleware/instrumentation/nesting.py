"""How a WSGI door recognises that it runs inside an ASGI door, through an adapter.

An ASGI scope is not handed on to a WSGI application, but adapters run it with the context of the
task that called them. Doors that find the request itself at hand do not come here.
"""

from __future__ import annotations

from contextvars import ContextVar

from prom_middleware.instrumentation.observation import Observation

_current: ContextVar[Observation | None] = ContextVar("prom_middleware", default=None)
inner_doors = False


def expect_inner_doors() -> None:
    """Have outer doors announce their requests from now on; a door that may be inside calls it."""
    global inner_doors
    inner_doors = True


def announce(observation: Observation) -> None:
    """Make `observation` known to what this task calls; worth it where `inner_doors` is set."""
    _current.set(observation)


def outer(key: str, method: str, path: str) -> Observation | None:
    """Return the open observation that `method` and `path` belong to, if one was announced.

    An application may call another one while it serves a request, so the context alone says
    nothing: method and end of the path must be the same.
    """
    observation = _current.get()
    if observation is None or observation.done:
        return None
    scope = observation.request
    same = scope.get(key) is observation and scope["method"] == method
    return observation if same and scope["path"].endswith(path) else None


def place(observation: Observation) -> str:
    """Return the template of the mount that an outer door's router chose, less its `/{path}`."""
    template = observation.resolver()(observation.request) or ""
    return template.removesuffix("/{path}") if template.endswith("/{path}") else ""
