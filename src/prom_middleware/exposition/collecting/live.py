"""Metrics of `prometheus_client` read as they are written, child by child.

Their own `collect` makes all samples of all children in one go: at 100,000 children that is a third
of a second, and seven times the memory of the text.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from prometheus_client import Counter, Enum, Gauge, Histogram, Info, Summary
from prometheus_client import Metric as MetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.samples import Sample

# Their own classes alone: one that is derived from them may do anything.
CLASSES = frozenset((Counter, Enum, Gauge, Histogram, Info, Summary))
SLICE = 512  # children in some tenths of a millisecond


def is_original(function: Any) -> bool:
    """Tell whether a function is what `prometheus_client` has there, and not somebody's patch.

    Patched, a metric may be that of all workers. When this module is imported that may be so
    already, and a patch may bear the name of what it replaces: where it is defined does not lie.
    """
    module: str = function.__globals__["__name__"]
    return module.startswith("prometheus_client.")


class LiveFamily(MetricFamily):
    """A family whose samples are made anew by each iteration, one child at a time."""

    def __init__(self, metric: Any) -> None:
        family = metric._get_metric()
        super().__init__(family.name, family.documentation, family.type, family.unit)
        self.metric = metric

    @property
    def samples(self) -> Any:
        """Return what iterates over the samples."""
        return _Samples(self.metric) if hasattr(self, "metric") else ()

    @samples.setter
    def samples(self, samples: Any) -> None:
        """Leave them: the base class sets an empty list."""


class _Samples:
    def __init__(self, metric: Any) -> None:
        self._metric = metric

    def __iter__(self) -> Iterator[Sample]:
        name = self._metric._name
        for sample in self._metric._samples():
            yield Sample(name + sample.name, *sample[1:])


def live_family(collector: object) -> LiveFamily | None:
    """Return a live family of a metric; None for what is none, or not of this process alone."""
    kind: Any = type(collector)
    if kind not in CLASSES or "collect" in vars(collector):
        return None
    if not (is_original(kind.collect) and is_original(MetricWrapperBase._samples)):
        return None
    return LiveFamily(collector)


def calls_out(metric: Any) -> Generator[None, None, bool]:
    """Tell whether a function of the user's gives the numbers: it may take its time.

    Yields now and then.
    """
    if type(metric) is not Gauge and type(metric) is not Counter:
        return False
    own = type(metric)._child_samples
    children = list(getattr(metric, "_metrics", {}).values())
    for number, one in enumerate((metric, *children)):
        # `vars` would make a dictionary for each child, and leave it there.
        if getattr(one._child_samples, "__func__", None) is not own:
            return True
        if number % SLICE == SLICE - 1:
            yield
    return False
