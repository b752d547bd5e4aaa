"""`/federate`: the series that a Prometheus selects, each by itself, as a Prometheus gives them.

They stand in the order of their names, with the time at which they were collected, and with the
types that they have outside of their families: a part of a histogram or of a summary has none. A
native histogram is one series, called as its family, in the formats that have a place for it.
https://prometheus.io/docs/prometheus/latest/federation/
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Any

from prometheus_client import Metric as MetricFamily
from prometheus_client.samples import Sample

from prom_middleware.exposition.access import ScrapeRequest
from prom_middleware.exposition.collecting.collection import Collection, Steps
from prom_middleware.exposition.formats.lines import SAMPLES
from prom_middleware.exposition.formats.points import is_native, without_exemplars
from prom_middleware.exposition.negotiation import SERIES_KINDS, negotiate
from prom_middleware.exposition.options import Limits
from prom_middleware.exposition.refusals import SelectorError
from prom_middleware.exposition.rendering import Rendering, Text, Wanted, blank
from prom_middleware.exposition.selection.columns import columns, family_of, labelled, native_column
from prom_middleware.instrumentation.families import BlockFamily

# The end of the path that is a federation's, wherever scrapes are answered.
ENDING = "/federate"
# Of the time that a scrape has, for what is made when the last family has come: all of it.
SHARE = 0.25


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

    def __init__(self, wanted: Wanted, collection: Collection, deadline: float) -> None:
        super().__init__(wanted, collection, deadline - wanted.seconds * SHARE)
        self._milliseconds = int(time.time() * 1000)
        self._series: dict[str, MetricFamily] = {}
        self._labels = dict(wanted.external_labels or ())

    def fill(self) -> Steps:
        """Make the body once."""
        self._series.clear()
        yield from super().fill()

    def family(self, family: MetricFamily) -> Text:
        """Note what is wanted of a family, all of it or nothing."""
        if isinstance(family, BlockFamily):
            found = yield from blank(self._of_rows(family))
        else:
            found = yield from blank(self._of_samples(family))
        for name, series in found.items():
            self._series.setdefault(name, series)  # a name that two families have stands there once

    def last(self) -> Text:
        """Yield the series in the order of their names."""
        for name, series in sorted(self._series.items()):
            yield from self.guarded(name, self.wanted.form.family(series))

    def _of_rows(self, family: BlockFamily) -> Generator[None, None, dict[str, MetricFamily]]:
        found: dict[str, MetricFamily] = {}
        for name, column in self._columns(family):
            if self.wanted.selection.wants_name(name):
                column.milliseconds = self._milliseconds
                selected = yield from self.wanted.selection.select(column)
                if isinstance(selected, BlockFamily):  # a column's rows are its samples
                    found[name] = labelled(selected, self._labels)
        if family.type == "histogram" and family.name in found:
            found[family.name].type = family.type  # until now it was to be taken for a number
        return found

    def _columns(self, family: BlockFamily) -> Iterator[tuple[str, BlockFamily]]:
        yield from columns(family)
        if family.type == "histogram" and self.wanted.form.has_native_histograms:
            yield family.name, native_column(family)

    def _of_samples(self, family: MetricFamily) -> Generator[None, None, dict[str, MetricFamily]]:
        found: dict[str, MetricFamily] = {}
        places: dict[Any, int] = {}
        selected = yield from self.wanted.selection.select(family)
        for number, sample in enumerate(() if selected is None else selected.samples):
            if is_native(sample) and not self.wanted.form.has_native_histograms:
                continue
            if sample.name not in found:
                found[sample.name] = family_of(sample, family)
            series = found[sample.name].samples
            if sample.timestamp is None:
                series.append(self._federated(sample))
            else:  # there may be others of the same series
                _put(series, self._federated(sample), places)
            if number % SAMPLES == SAMPLES - 1:
                yield
        return found

    def _federated(self, sample: Sample) -> Sample:
        time = self._milliseconds / 1000 if sample.timestamp is None else sample.timestamp
        own = {name: value for name, value in (sample.labels or {}).items() if value}
        labels = {**(sample.labels or {}), **self._labels, **own}
        bare = without_exemplars(sample) if is_native(sample) else sample
        return bare._replace(labels=labels, timestamp=time, exemplar=None)


def _put(samples: list[Any], sample: Any, places: dict[Any, int]) -> None:
    """Add a sample, or put it in the place of an earlier one of its series: the last one counts."""
    place = places.setdefault((sample.name, frozenset(sample.labels.items())), len(samples))
    if place == len(samples):
        samples.append(sample)
    elif float(sample.timestamp) > float(samples[place].timestamp):
        samples[place] = sample
