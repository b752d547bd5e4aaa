"""What a request is, how it is recorded, and under which options.

A door makes one `Instrumentation` when it is constructed, and one `Observation` per request:
door → `Observation.begin(core, request, method)` → application → last byte → `finish()`.

config.py       options, read once; options.py: their types
core.py         one door's part of all this; at_hand.py: what the hot path reads of it
observation.py  the hot path; rare.py: what few requests have to tell
websocket.py    the same for a websocket
dialect.py      what a door says of its framework's requests
nesting.py      doors inside of one another
cancelling.py   whose cancellation it is that an application raises
queueing.py     how long a request has waited before it came
tracing.py      which trace it belongs to; exemplars.py: where that is kept
exclusion.py    paths that are not recorded
labels.py       what a user's callables make of a request
recorder.py     what one request changes in the cells
registration.py one recorder for each registry
series.py       each kind of series, and the cardinality guard; native.py: native histograms
presets.py      what the metrics are called
collector.py    from cells to what a registry collects
families.py     families made of blocks; rows.py: what of a block is shown
sharing.py      the failures of all processes that share a store
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from prom_middleware.instrumentation.config import Configuration
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
        "Configuration": "prom_middleware.instrumentation.config",
        "Connection": "prom_middleware.instrumentation.websocket",
        "Dialect": "prom_middleware.instrumentation.dialect",
        "Facts": "prom_middleware.instrumentation.labels",
        "Options": "prom_middleware.instrumentation.options",
        "registered": "prom_middleware.instrumentation.registration",
    },
)
