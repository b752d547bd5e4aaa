"""The metrics of OpenTelemetry's SDK in the same process, as a Collector.

What the families are is in `opentelemetry_families`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from prom_middleware.errors import MissingFrameworkError
from prom_middleware.forks import renew_in_child

try:
    from opentelemetry.sdk.metrics.export import MetricReader, MetricsData

    from prom_middleware.bridge.incoming.opentelemetry_families import (
        add,
        add_target_info,
        scope_labels_of,
    )
except ImportError as error:
    _missing = error

    class MetricReader:  # type: ignore[no-redef]
        """What stands for the SDK's where there is none: all names of the package can be had."""

        def __init__(self, **_: Any) -> None:
            raise MissingFrameworkError(
                "OpenTelemetryReader needs the SDK: pip install opentelemetry-sdk, or "
                f"'prom_middleware[otlp]' ({_missing})"
            ) from _missing


PATIENCE = 10_000.0  # milliseconds for the callbacks of observable instruments


class OpenTelemetryReader(MetricReader):
    """A reader for a MeterProvider that shows its metrics in `registry` at each scrape.

    Each series says which instrumentation it is from, in `otel_scope_name` and
    `otel_scope_version`, unless `scope_labels` is false; `target_info` has the resource, unless
    that is false. `options` are those of MetricReader, but temporality is cumulative.
    """

    def __init__(
        self,
        registry: CollectorRegistry = REGISTRY,
        *,
        scope_labels: bool = True,
        target_info: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._registry = registry
        self._collector = _SdkCollector(self, scope_labels, target_info)
        self._received: MetricsData | None = None
        self._renew()
        renew_in_child(self, OpenTelemetryReader._renew)
        registry.register(self._collector)

    def _renew(self) -> None:
        self._turn = threading.Lock()

    def read(self) -> MetricsData | None:
        """Return what the SDK has now."""
        with self._turn:
            self._received = None
            self.collect(PATIENCE)
            return self._received

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = PATIENCE, **_: Any
    ) -> None:
        self._received = metrics_data

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Show no more."""
        try:
            self._registry.unregister(self._collector)
        except KeyError:  # a second time
            return


class _SdkCollector(Collector):
    def __init__(self, reader: OpenTelemetryReader, scope_labels: bool, target_info: bool) -> None:
        self._reader = reader
        self._scope_labels = scope_labels
        self._target_info = target_info

    def describe(self) -> list[Metric]:
        """Return nothing: what there will be, nobody knows."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return one family for each name; of two types under one name, the first one stays."""
        families: dict[str, Metric] = {}
        data = self._reader.read()
        for resource in data.resource_metrics if data is not None else ():
            if self._target_info:
                add_target_info(families, resource.resource.attributes)
            for scope in resource.scope_metrics:
                labels = scope_labels_of(scope.scope) if self._scope_labels else {}
                for metric in scope.metrics:
                    add(families, metric, labels)
        return families.values()
