"""Prometheus request metrics for ASGI, WSGI, Flask, Django and Twisted, in one line.

    from prom_middleware import instrument
    app = instrument(app)

Nothing is imported before it is asked for: a framework only with its own door.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prom_middleware._version import __version__

if TYPE_CHECKING:
    from prom_middleware.applications import instrument
    from prom_middleware.exposition import allow_networks, basic_auth, bearer_token
    from prom_middleware.instrumentation import Instrumentation

__all__ = [
    "Instrumentation",
    "__version__",
    "allow_networks",
    "basic_auth",
    "bearer_token",
    "instrument",
]

_HOMES = {
    "Instrumentation": "prom_middleware.instrumentation",
    "allow_networks": "prom_middleware.exposition.access",
    "basic_auth": "prom_middleware.exposition.access",
    "bearer_token": "prom_middleware.exposition.access",
    "instrument": "prom_middleware.applications",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
