"""One door's part of the core: its options, and the recorder of its registry."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from prom_middleware import failures
from prom_middleware.instrumentation.at_hand import AtHand
from prom_middleware.instrumentation.nesting import Prefixes, is_another
from prom_middleware.instrumentation.observation import Observation
from prom_middleware.instrumentation.queueing import queue_seconds

if TYPE_CHECKING:
    from prom_middleware.instrumentation.dialect import Dialect
    from prom_middleware.instrumentation.labels import ExtraLabels
    from prom_middleware.instrumentation.websocket import Connection

KEY_PREFIX = "prom_middleware."


def discard_observations(request: Mapping[str, Any]) -> None:
    """Forget every observation of `request` (an ASGI scope or a WSGI environ): it is a scrape."""
    for key, value in list(request.items()):
        ours = key.startswith(KEY_PREFIX) and isinstance(value, Observation)
        if ours and not is_another(value, request):
            value.discard()


class Instrumentation(AtHand):
    """One door's part of the core: its options, and the recorder of its registry.

    Raises ConfigurationError for options that cannot be, MetricConflictError for a registry that
    cannot take our metrics.
    """

    def __init__(self, options: Mapping[str, Any], dialect: Dialect) -> None:
        # Imported by the first door that is made, not by the import of one.
        from prom_middleware.instrumentation.config import Configuration
        from prom_middleware.instrumentation.registration import recorder_for

        self.config = config = Configuration.from_options(options)
        self.recorder = recorder = recorder_for(config.registry, config.schema, config.max_series)
        self.turn, self.store, self.running = recorder.turn, recorder.store, recorder.running
        self.offsets = recorder.series.requests.offsets
        self.edges = recorder.series.requests.edges
        self.native = recorder.series.requests.native
        self.native_bounds = recorder.series.requests.native_bounds
        self.exemplars, self.traced = recorder.exemplars, config.exemplars
        self.modules, self.context = sys.modules if config.exemplars else {}, None
        self.promises = recorder.store.shared
        self.unpromised = None if self.promises else ()
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
        from prom_middleware.instrumentation.websocket import Connection  # loaded with the door

        return Connection(self, request)

    def queued(self, *headers: str | None) -> None:
        """Record the time that a proxy's headers tell: the first of them that tells one."""
        try:
            recorder = self.recorder
            for header in headers:
                seconds = queue_seconds(header) if header else None
                if seconds is not None:
                    recorder.observe(recorder.series.queue, (), seconds)
                    return
        except Exception as error:
            failures.report("queue", error)


def _extra_labels(labels: Mapping[str, Any], dialect: Dialect) -> ExtraLabels:
    from prom_middleware.instrumentation.labels import ExtraLabels  # few doors have any

    return ExtraLabels(labels, dialect)


def _excluder(exclude: tuple[Any, ...]) -> Callable[[str], bool]:
    from prom_middleware.instrumentation.exclusion import excluder

    return excluder(exclude)
