"""Where an application stands: below which door, and below which mounts."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from prom_middleware.exposition.wsgi import decoded, path_of, paths_of, undecoded
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
    # Where the outer door's router named the place, that stands for all that is above it.
    environ[ENTRANCE] = (
        (*_entrance(environ, observation.request, prefix), prefix)
        if prefix
        else (outer.root, outer.path.removeprefix(outer.root), "")
    )
    return observation


def _entrance(environ: Mapping[str, Any], request: Any, prefix: str) -> tuple[str, str]:
    """Return SCRIPT_NAME and PATH_INFO as they were below the mount that `prefix` is of."""
    script, path = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
    mounted, taken = _mounted(request)
    if taken.count("/") != prefix.count("/") or not script.startswith(f"{mounted}/"):
        return script, path
    # Dispatchers in between have taken the rest.
    return mounted, script[len(mounted) :] + path


def _mounted(request: Any) -> tuple[str, str]:
    """Return what SCRIPT_NAME was where an outer door's router led to, and what of it mounts took.

    The last is empty where nobody says: in a scope that was copied before its routers came to it.
    """
    if not isinstance(request, Mapping):
        script = "/".join(
            ["", *(each.decode("latin-1") for each in getattr(request, "prepath", ()))]
        )
        return script, script
    root = request.get("root_path") or ""
    return undecoded(root), root.removeprefix(request.get("app_root_path", root))


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
