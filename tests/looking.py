"""What code that knows nothing of us does with all values of an environ or a scope."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy, deepcopy
from pickle import dumps, loads
from typing import Any

LOOKS: list[Callable[[Any], object]] = [dict, list, len, next, iter, copy, deepcopy, repr, bool]


def look_into(request: Mapping[str, Any]) -> int:
    """Look into each value of ours, and return how many there are.

    oauthlib makes a dictionary of what has `__iter__`, and takes these two errors for an answer.
    """
    ours = [value for key, value in request.items() if key.startswith("prom_middleware")]
    for value in ours:
        for look in LOOKS:
            with suppress(TypeError, ValueError):
                look(value)
        loads(dumps(value))
    return len(ours)
