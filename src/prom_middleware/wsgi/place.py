"""Where an application stands: below which door, and below which mounts."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from prom_middleware.exposition.wsgi import decoded, path_of, paths_of
from prom_middleware.instrumentation import Observation, nesting

# In the environ, where the outermost door is none of WSGI: SCRIPT_NAME and PATH_INFO there, and the
# template of its place.
ENTRANCE = "prom_middleware.entrance"


def enter(environ: MutableMapping[str, Any]) -> None:
    """Note where a door stands whose observation does not: mounts further in are told from it."""
    if ENTRANCE not in environ:
        environ[ENTRANCE] = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", ""), ""


def outer_observation(environ: MutableMapping[str, Any], key: str) -> Observation | None:
    """Return the observation of a door further out, be it WSGI, or ASGI or Twisted's."""
    if key in environ:
        observation: Observation | None = environ[key]  # None: it was pickled
        if observation is None or nesting.is_another(observation, environ):
            return None
        return observation
    if not nesting.outer_doors:
        return None
    found = nesting.outer(key, environ.get("REQUEST_METHOD", ""), paths_of(environ))
    if found is None:
        return None
    outer, observation = found
    prefix = nesting.chosen_mount(observation)
    environ[key] = observation
    # Where the outer door's router named the place, that stands for all that is above us.
    environ[ENTRANCE] = (
        (environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", ""), prefix)
        if prefix
        else (outer.root, outer.path.removeprefix(outer.root), "")
    )
    return observation


def place_of(environ: Mapping[str, Any], observation: Any) -> str:
    """Return the template of the mounts between the outermost door and this application."""
    prefix = ""
    if ENTRANCE in environ:
        prefix = environ[ENTRANCE][2]
    elif environ.get("SCRIPT_NAME", "") == observation.root:
        return ""
    mounts: str = observation.core.prefixes.label(mounts_of(environ, observation))
    return prefix + mounts


def mounts_of(environ: Mapping[str, Any], observation: Any) -> str:
    """Return what dispatchers have taken from the path since the outermost door."""
    script: str = environ.get("SCRIPT_NAME", "")
    if ENTRANCE in environ:
        root, path, _ = environ[ENTRANCE]
    else:
        root, path = observation.root, observation.path
    if script == root:
        return ""
    mounts = decoded(script).removeprefix(decoded(root)).rstrip("/")
    below, whole = path_of(environ), decoded(path)
    taken = whole.removesuffix(below) if whole.endswith(below) else ""
    if below == "/" and not whole.endswith("/"):  # see `paths_of`
        taken = whole
    # A proxy's prefix (ProxyFix) may stand before it, and is no mount: nobody took it.
    return taken if mounts.endswith(taken) else ""


nesting.place_of = place_of
