"""What a request is, how it is recorded, and under which options.

A door makes one `Instrumentation` when it is constructed, and one `Observation` per request:
door → `Observation.begin(core, request, method)` → application → last byte → `finish()`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from prom_middleware import failures
from prom_middleware.instrumentation.config import Configuration
from prom_middleware.instrumentation.nesting import Prefixes
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
from prom_middleware.instrumentation.queueing import queue_seconds
from prom_middleware.instrumentation.recorder import Recorder
from prom_middleware.lazy import lazily

if TYPE_CHECKING:
    from prom_middleware.instrumentation.dialect import Dialect
    from prom_middleware.instrumentation.labels import ExtraLabels, Facts
    from prom_middleware.instrumentation.options import Options
    from prom_middleware.instrumentation.registration import registered
    from prom_middleware.instrumentation.websocket import Connection
    from prom_middleware.stores import Labels

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
    "Recorder",
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

KEY_PREFIX = "prom_middleware."


def discard_observations(request: Mapping[str, Any]) -> None:
    """Forget every observation of `request` (an ASGI scope or a WSGI environ): it is a scrape."""
    for key, value in list(request.items()):
        if key.startswith(KEY_PREFIX) and isinstance(value, Observation):
            value.discard()


class Instrumentation:
    """One door's part of the core: its options, and the recorder of its registry.

    Raises ConfigurationError for options that cannot be, MetricConflictError for a registry that
    cannot take our metrics.
    """

    def __init__(self, options: Mapping[str, Any], dialect: Dialect) -> None:
        # Imported by the first door that is made, not by the import of one.
        from prom_middleware.instrumentation.registration import recorder_for

        self.config = config = Configuration.from_options(options)
        self.recorder = recorder = recorder_for(config.registry, config.schema, config.max_series)
        # At hand for the hot path.
        self.turn, self.store, self.running = recorder.turn, recorder.store, recorder.running
        self.offsets = recorder.series.requests.offsets
        self.edges = recorder.series.requests.edges
        self.native = recorder.series.requests.native
        self.native_bounds = recorder.series.requests.native_bounds
        # Where to look for OpenTelemetry: nowhere, unless there are to be exemplars.
        self.exemplars, self.traced = recorder.exemplars, config.exemplars
        self.modules: Mapping[str, Any] = sys.modules if config.exemplars else {}
        # Whether a response is noted before it begins, see Observation.promise.
        self.promises = recorder.store.shared
        # Where it is not, no request is without a promise.
        self.unpromised: Labels | None = None if self.promises else ()
        # Where a request keeps its observation, so that it is recorded once per registry.
        self.key = f"{KEY_PREFIX}{id(self.recorder):x}"
        self.resolve = dialect.route
        self.prefixes = Prefixes()
        self.excluded = _excluder(config.exclude) if config.exclude else None
        self.extra_labels = _extra_labels(config.labels, dialect) if config.labels else None

    def start(self, request: Any, method: str) -> Observation:
        """Begin to observe a request."""
        observation = Observation()
        observation.begin(self, request, method)
        return observation

    def connect(self, request: Any) -> Connection:
        """Begin to observe a websocket."""
        from prom_middleware.instrumentation.websocket import Connection  # the first one waits

        return Connection(self, request)

    def queued(self, *headers: str | None) -> None:
        """Record the time that the first of a proxy's headers tells, if it tells one."""
        try:
            seconds = queue_seconds(next(filter(None, headers), ""))
            if seconds is not None:
                recorder = self.recorder
                recorder.observe(recorder.series.queue, (), seconds)
        except Exception as error:
            failures.report("queue", error)


def _extra_labels(labels: Mapping[str, Any], dialect: Dialect) -> ExtraLabels:
    from prom_middleware.instrumentation.labels import ExtraLabels  # few doors have any

    return ExtraLabels(labels, dialect)


def _excluder(exclude: tuple[Any, ...]) -> Callable[[str], bool] | None:
    from prom_middleware.instrumentation.exclusion import excluder

    return excluder(exclude)
