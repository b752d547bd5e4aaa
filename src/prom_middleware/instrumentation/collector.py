"""From cells to metric families: what a registry collects from us."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as MetricFamily,
)

from prom_middleware import failures
from prom_middleware.instrumentation.families import BlockFamily
from prom_middleware.instrumentation.presets import OWN, PRESETS, Metric
from prom_middleware.instrumentation.rows import (
    View,
    histogram_numbers,
    histogram_rows,
    number_rows,
    numbers,
)
from prom_middleware.instrumentation.sharing import failure_counts

if TYPE_CHECKING:
    from prom_middleware.instrumentation.recorder import Recorder
    from prom_middleware.stores import Labels, Snapshot, Worker

ERRORS_HELP = "Failures inside prom_middleware; each cause is logged once, requests went on."
OVERFLOW_HELP = "Updates that went into a metric's overflow series, being over max_series."
WORKERS_HELP = "Processes that write to this store, by state."


class RequestCollector:
    """Show one recorder's series to a `prometheus_client` registry."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        presets = recorder.series.schema.presets
        # Two presets may name a metric alike; a family may be exposed only once.
        table = {metric.name: metric for preset in presets for metric in PRESETS[preset]}
        self.metrics = (*table.values(), *OWN)
        # What formats make of label sets, by the names of the labels; of as many as there may be.
        self._kept: defaultdict[Labels, dict[str, Any]] = defaultdict(dict)

    def describe(self) -> Iterable[MetricFamily]:
        """Yield every family without samples, so that the registry knows the names we take."""
        yield from (self._family(metric) for metric in self.metrics)
        yield from (_errors_family(), _overflow_family(), _workers_family())

    def collect(self) -> Iterable[MetricFamily]:
        """Yield every family that has samples; if ours cannot be read, only the errors."""
        try:
            families = list(self._collect())
        except Exception as error:
            failures.report("collect", error)
            families = list(_errors(failures.counts()))
        return families

    def _collect(self) -> Iterator[MetricFamily]:
        store = self.recorder.store
        snapshot = store.snapshot()
        view = View(snapshot, self.recorder.exemplars)
        for metric in self.metrics:
            family = self._shown(metric, view)
            if family is not None:
                yield family
        yield from self._overflow(snapshot)
        yield from _workers(snapshot.workers)
        yield from _errors(failure_counts(store, snapshot))

    def _shown(self, metric: Metric, view: View) -> BlockFamily | None:
        series = self._series(metric)
        label_names = series.family.label_names
        if metric.type == "histogram":
            bounds, rows = series.family.bounds, partial(histogram_rows, view, series)
            plain: Any = partial(histogram_numbers, view, series)
        else:
            bounds, rows = (), partial(number_rows, view, metric, series)
            plain = partial(numbers, view, metric, series)
        if next(plain(), None) is None:
            return None
        family = BlockFamily(self._family(metric), label_names, bounds, rows)
        family.kept, family.numbers = self._kept[label_names], plain
        return family

    def _series(self, metric: Metric) -> Any:
        return getattr(self.recorder.series, metric.source)

    def _family(self, metric: Metric) -> MetricFamily:
        labels = self._series(metric).family.label_names
        family: MetricFamily = FAMILIES[metric.type](
            metric.name, metric.documentation, labels=labels
        )
        return family

    def _overflow(self, snapshot: Snapshot) -> Iterator[MetricFamily]:
        family = _overflow_family()
        for (name,), (amount,) in snapshot.read(self.recorder.series.overflows.family):
            for metric in self.metrics:
                if self._series(metric).family.name == name:
                    family.add_metric([metric.name], amount)
        if family.samples:
            yield family


def _overflow_family() -> CounterMetricFamily:
    name = "prom_middleware_series_overflow_total"
    return CounterMetricFamily(name, OVERFLOW_HELP, labels=["metric"])


def _errors_family() -> CounterMetricFamily:
    return CounterMetricFamily("prom_middleware_errors_total", ERRORS_HELP, labels=["cause"])


def _workers_family() -> GaugeMetricFamily:
    return GaugeMetricFamily("prom_middleware_workers", WORKERS_HELP, labels=["state"])


def _workers(workers: Sequence[Worker]) -> Iterator[MetricFamily]:
    family = _workers_family()
    live = sum(worker.live for worker in workers)
    family.add_metric(["live"], live)
    family.add_metric(["dead"], len(workers) - live)
    yield family


FAMILIES: dict[str, Any] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _errors(counts: Mapping[str, float]) -> Iterator[MetricFamily]:
    family = _errors_family()
    for cause, number in sorted(counts.items()):
        family.add_metric([cause], number)
    if family.samples:
        yield family
