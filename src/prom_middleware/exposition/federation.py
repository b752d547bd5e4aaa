"""`/federate`: the series that a Prometheus selects, each by itself, as a Prometheus gives them.

They stand in the order of their names, with the time at which they were collected, and with the
types that they have outside of their families: a part of a histogram or of a summary has none.
https://prometheus.io/docs/prometheus/latest/federation/
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import Metric as MetricFamily
from prometheus_client.samples import Sample

from prom_middleware.exposition.access import ScrapeRequest
from prom_middleware.exposition.collecting.collection import Steps
from prom_middleware.exposition.formats.lines import SAMPLES
from prom_middleware.exposition.negotiation import SERIES_KINDS, negotiate
from prom_middleware.exposition.options import Limits
from prom_middleware.exposition.refusals import SelectorError
from prom_middleware.exposition.rendering import Rendering, Text, Wanted
from prom_middleware.exposition.selection.parameters import with_samples
from prom_middleware.instrumentation.families import BlockFamily

# The end of the path that is a federation's, wherever scrapes are answered.
ENDING = "/federate"
# What a series is without its family, by the family's type and the ending of the series' name.
TYPES = {
    ("counter", "_total"): "counter",
    ("gauge", ""): "gauge",
    ("stateset", ""): "gauge",
    ("info", "_info"): "gauge",
    **{(kind, "_created"): "gauge" for kind in ("counter", "histogram", "summary")},
}
UNTYPED = "unknown"


def is_federation(request: ScrapeRequest) -> bool:
    """Tell whether a request is one for federation, by its path."""
    return f"{request.mount}{request.path}".rstrip("/").endswith(ENDING)


def federated(wanted: Wanted, request: ScrapeRequest, limits: Limits) -> Wanted:
    """Return what a federation wants; raise SelectorError where it selects nothing.

    A Prometheus answers with nothing, and then nobody sees what is missing.
    """
    selection = wanted.selection.without_names
    if selection.everything:
        raise SelectorError("no match[] parameter provided")
    form = negotiate(request.headers.get("accept", ""), SERIES_KINDS)
    labels = tuple(sorted(limits.external_labels.items()))
    return wanted._replace(form=form, selection=selection, external_labels=labels)


class FederatedRendering(Rendering):
    """The body of a federation, which is sorted before it is written."""

    _series: dict[str, MetricFamily]
    _seconds: float

    def fill(self) -> Steps:
        """Make the body once."""
        self._series, self._seconds = {}, round(time.time(), 3)
        yield from super().fill()

    def write(self, family: MetricFamily) -> Text:
        """Note the series of a family, all of them or none."""
        found: dict[str, MetricFamily] = {}
        for number, sample in enumerate(_samples(family)):
            if sample.name not in found:
                found[sample.name] = _alone(family, sample.name)
            found[sample.name].samples.append(self._federated(sample))
            if number % SAMPLES == SAMPLES - 1:
                yield b""
        for name, series in found.items():
            self._series.setdefault(name, series)

    def last(self) -> Text:
        """Yield the series in the order of their names."""
        for name, series in sorted(self._series.items()):
            yield from self.guarded(name, super().write(series))

    def _federated(self, sample: Sample) -> Sample:
        time = self._seconds if sample.timestamp is None else sample.timestamp
        labels = {**dict(self.wanted.external_labels or ()), **sample.labels}
        return Sample(sample.name, labels, sample.value, time)


def _samples(family: MetricFamily) -> Iterable[Sample]:
    samples = family.each_sample() if isinstance(family, BlockFamily) else family.samples
    # A native histogram has no place in the text, and no series of its own in ours.
    return (one for one in samples if not getattr(one, "native_histogram", None))


def _alone(family: MetricFamily, name: str) -> MetricFamily:
    """Return a family for the series of one name, without them."""
    found = with_samples(family, [])
    found.type = TYPES.get((family.type, name.removeprefix(family.name)), UNTYPED)
    if found.type != family.type:
        found.name, found.unit = name, ""
    return found
