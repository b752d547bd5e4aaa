"""Prometheus request metrics for ASGI, WSGI, Flask, Django and Twisted, in one line.

    from prom_middleware import instrument
    app = instrument(app)

Nothing is imported before it is asked for: a framework only with its own door.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prom_middleware._version import __version__
from prom_middleware.lazy import lazily

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


__getattr__, __dir__ = lazily(__name__, _HOMES)
