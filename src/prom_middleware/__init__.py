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
    from prom_middleware.exposition import (
        ScrapeRequest,
        allow_networks,
        basic_auth,
        bearer_token,
    )
    from prom_middleware.instrumentation import Facts, Instrumentation, Options

__all__ = [
    "Facts",
    "Instrumentation",
    "Options",
    "ScrapeRequest",
    "__version__",
    "allow_networks",
    "basic_auth",
    "bearer_token",
    "instrument",
]

_HOMES = {
    "Facts": "prom_middleware.instrumentation.labels",
    "Instrumentation": "prom_middleware.instrumentation",
    "Options": "prom_middleware.instrumentation.options",
    "ScrapeRequest": "prom_middleware.exposition.access",
    "allow_networks": "prom_middleware.exposition.access",
    "basic_auth": "prom_middleware.exposition.access",
    "bearer_token": "prom_middleware.exposition.access",
    "instrument": "prom_middleware.applications",
}


__getattr__, __dir__ = lazily(__name__, _HOMES)
