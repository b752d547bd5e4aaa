"""What a request is, how it is recorded, and under which options.

A door makes one `Instrumentation` when it is constructed, and one `Observation` per request:
door → `Observation.begin(core, request, method)` → application → last byte → `finish()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prom_middleware.instrumentation.config import Configuration
from prom_middleware.instrumentation.core import (
    KEY_PREFIX,
    Instrumentation,
    discard_observations,
)
from prom_middleware.instrumentation.observation import (
    COMPLETE,
    DISCONNECT,
    ERROR,
    INCOMPLETE,
    OTHER,
    STATUSES,
    UNMATCHED,
    Observation,
    status_label,
)
from prom_middleware.lazy import lazily

if TYPE_CHECKING:
    from prom_middleware.instrumentation.dialect import Dialect
    from prom_middleware.instrumentation.labels import Facts
    from prom_middleware.instrumentation.options import Options
    from prom_middleware.instrumentation.registration import registered
    from prom_middleware.instrumentation.websocket import Connection

__all__ = [
    "COMPLETE",
    "DISCONNECT",
    "ERROR",
    "INCOMPLETE",
    "KEY_PREFIX",
    "OTHER",
    "STATUSES",
    "UNMATCHED",
    "Configuration",
    "Connection",
    "Dialect",
    "Facts",
    "Instrumentation",
    "Observation",
    "Options",
    "discard_observations",
    "registered",
    "status_label",
]


__getattr__, __dir__ = lazily(
    __name__,
    {
        "Connection": "prom_middleware.instrumentation.websocket",
        "Dialect": "prom_middleware.instrumentation.dialect",
        "Facts": "prom_middleware.instrumentation.labels",
        "Options": "prom_middleware.instrumentation.options",
        "registered": "prom_middleware.instrumentation.registration",
    },
)
