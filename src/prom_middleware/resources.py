"""How Twisted's resources stand one below another, as its door and the doctor see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# So many wrappers one behind the other, at most: one could stand behind itself.
DEEPEST = 16


def original(resource: Any) -> Any:
    """Return what an encoding wrapper (gzip) stands for; None for what is no wrapper."""
    found = getattr(resource, "original", None)
    return found if hasattr(found, "isLeaf") else None  # others may mean a photograph


def behind(resource: Any) -> Any:
    """Return the resource that any number of wrappers stand for, or the resource itself."""
    for _ in range(DEEPEST):
        found = original(resource)
        if found is None:
            break
        resource = found
    return resource


def children(resource: Any) -> Mapping[bytes, Any]:
    """Return the children of a resource by their segments."""
    found = getattr(resource, "children", None)
    return found if isinstance(found, Mapping) else {}


def hosts(resource: Any) -> Iterator[Any]:
    """Yield what a NameVirtualHost has for its names, and for all others."""
    named = getattr(resource, "hosts", None)
    if isinstance(named, Mapping):
        found = (*named.values(), getattr(resource, "default", None))
        yield from {id(one): one for one in found}.values()
