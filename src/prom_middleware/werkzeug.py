"""Werkzeug's rules, which Flask and Klein have in common: the one that a request belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from werkzeug.exceptions import HTTPException, MethodNotAllowed

_SLASHES = re.compile("/{2,}")


def matching_rule(adapter: Any, path: str | None = None, method: str | None = None) -> Any:
    """Return the rule that matches, also where only the method does not (405), or None."""
    try:
        return adapter.match(path, method, return_rule=True)[0]
    except MethodNotAllowed as error:
        methods = error.valid_methods or ()
        # With another method, too many slashes lead to a redirect.
        merged = _SLASHES.sub("/", path or adapter.path_info)
        found = _found(adapter, path, methods) or _found(adapter, merged, methods)
        return _first(adapter.map, found)
    except Exception:  # not found, a redirect to the path with a slash; what a converter raises
        return None


def _found(adapter: Any, path: str | None, methods: Iterable[str]) -> list[Any]:
    found = [_match(adapter, path, method) for method in methods]
    return [rule for rule in found if rule is not None]


def _match(adapter: Any, path: str | None, method: str) -> Any:
    try:
        return adapter.match(path, method, return_rule=True)[0]
    except HTTPException:
        return None


def _first(url_map: Any, found: list[Any]) -> Any:
    """Return what the matching came to first: the methods are in no order that lasts."""
    if all(rule is found[0] for rule in found):
        return found[0] if found else None
    rules = list(url_map.iter_rules())
    return min(found, key=lambda rule: (_weights(rule), rules.index(rule)))


def _weights(rule: Any) -> list[Any]:
    # As werkzeug's matcher goes: what is the same for all paths, then what has the least weight.
    return [(not part.static, part.weight) for part in getattr(rule, "_parts", ())]
