"""What a scope says of the request's path, and of who else records it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Scope = Mapping[str, Any]


def path_below_root(scope: Scope) -> str:
    """Return the path without the server's own root path, in-app mounts included."""
    return path_below(scope.get("app_root_path", scope.get("root_path")) or "", scope)


def path_below(root: str, scope: Scope) -> str:
    """Return the path without `root`, or whole where it is not below that."""
    path: str = scope["path"]
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :]
    return path


def strips_mounts(scope: Scope) -> bool:
    """Tell whether the routers below a mount are given what is below it.

    They are given the whole path where it is not below the server's root path, as behind a proxy
    that takes that away: a mount adds to the root path, which is then nothing to take from it.
    """
    # Looked up once more: a call for it would cost each request that is asked for its path.
    root = scope.get("app_root_path", scope.get("root_path"))
    return not root or path_below(root, scope) != scope["path"]


def is_within(scope: Scope, key: str) -> bool:
    """Tell whether a WSGI door further out records this request: a2wsgi leaves its environ."""
    outer = scope.get("wsgi_environ", {}).get(key)
    return outer is not None and not outer.done


def added_root(outer: Scope, inner: Scope) -> str:
    """Return what was added to the root path between two doors, by rules of a dispatcher's own."""
    root: str = inner.get("root_path") or ""
    # FastAPI(root_path=...) is told what the proxy in front of the server strips: not a mount.
    if root == getattr(inner.get("app"), "root_path", None):
        return ""
    return root.removeprefix(outer.get("root_path") or "").rstrip("/")
