"""From the store to metric families: what a metric shows, whichever worker is asked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from time import time
from typing import Any

from prometheus_client import metrics
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from prom_middleware import failures
from prom_middleware.multiprocess.adoption import children, labels_of, values_of
from prom_middleware.multiprocess.gauges import GaugeFamily
from prom_middleware.multiprocess.notes import Note
from prom_middleware.multiprocess.shapes import SEPARATOR, SET, TIME, VALUE, kind_of, states_of
from prom_middleware.multiprocess.values import GaugeValue
from prom_middleware.multiprocess.view import Sum, View, Written
from prom_middleware.stores import Family, Labels, Worker

LabelSet = dict[str, str]
Key = tuple[tuple[str, str], ...]


def collect(view: View, family: Family, metric: Any = None) -> Metric:
    """Return what all workers say of a metric; without the metric itself, if others made it."""
    kind, unit = kind_of(family), "" if metric is None else metric._unit
    if kind == "gauge":
        return _gauge(view, family, metric, unit)
    shown = Metric(family.name, family.help, kind, unit)
    shown.samples.extend(SAMPLES[kind](view, family, metric))
    return shown


def _series(view: View, family: Family) -> Iterator[tuple[Labels, LabelSet, Sum]]:
    found: dict[Key, tuple[Labels, Sum]] = {}
    for each in view.alike(family):
        for labels, one in view.sums(each):
            key = _key(each, labels)
            if key in found:
                other = found[key][1]
                cells = [a + b for a, b in zip(one.cells, other.cells, strict=True)]
                one = Sum(cells, min(one.created, other.created))
            found[key] = labels, one
    for key, (labels, one) in found.items():
        yield labels, dict(key), one


def _created(name: str, labels: LabelSet, series: Sum) -> Iterator[Sample]:
    if metrics._use_created:
        yield Sample(f"{name}_created", labels, series.created, None, None)


def _exemplar(note: Note | None) -> Exemplar | None:
    if note is None:
        return None
    words = note.text.split(SEPARATOR) if note.text else []
    return Exemplar(dict(zip(words[::2], words[1::2], strict=False)), note.value, note.time or None)


def _counter(view: View, family: Family, _: Any) -> Iterator[Sample]:
    name, notes = family.name, view.notes(family)
    for labels, named, series in _series(view, family):
        exemplar = _exemplar(notes.get((*labels, "total")))
        yield Sample(f"{name}_total", named, series.cells[0], None, exemplar)
        yield from _created(name, named, series)


def _summary(view: View, family: Family, _: Any) -> Iterator[Sample]:
    name = family.name
    for _labels, named, series in _series(view, family):
        yield Sample(f"{name}_count", named, series.cells[0], None, None)
        yield Sample(f"{name}_sum", named, series.cells[1], None, None)
        yield from _created(name, named, series)


def _histogram(view: View, family: Family, _: Any) -> Iterator[Sample]:
    name, notes = family.name, view.notes(family)
    bounds = list(map(floatToGoString, family.bounds))
    for labels, named, series in _series(view, family):
        counts = list(accumulate(series.cells[1:-1]))
        for bound, count in zip(bounds, counts, strict=True):
            exemplar = _exemplar(notes.get((*labels, bound)))
            yield Sample(f"{name}_bucket", {**named, "le": bound}, count, None, exemplar)
        yield Sample(f"{name}_count", named, counts[-1], None, None)
        # As in prometheus_client: with negative values a sum may fall, and is no counter.
        if family.bounds[0] >= 0:
            yield Sample(f"{name}_sum", named, series.cells[0], None, None)
        yield from _created(name, named, series)


def _info(view: View, family: Family, _: Any) -> Iterator[Sample]:
    notes = view.notes(family)
    for labels, named, series in _series(view, family):
        note = notes.get((*labels, "info"))
        if note is None and series.cells[0]:  # it said what cannot be read
            continue
        said = {} if note is None else json.loads(note.text)
        yield Sample(f"{family.name}_info", {**named, **said}, 1.0, None, None)


def _stateset(view: View, family: Family, metric: Any) -> Iterator[Sample]:
    states = states_of(family)
    for named, written in _gauges(view, family, metric):
        latest = max((block for _, block in written), key=_time, default=[0.0])
        for number, state in enumerate(states):
            value = 1 if number == latest[VALUE] else 0
            yield Sample(family.name, {**named, family.name: state}, value, None, None)


def _gauge(view: View, family: Family, metric: Any, unit: str) -> GaugeFamily:
    shown = GaugeFamily(family.name, family.help, unit, family.mode)
    show = GAUGES[shown.mode]
    for named, written in _gauges(view, family, metric):
        when = max([block[TIME] for _, block in written if block[SET]], default=None)
        for extra, value in show(written):
            shown.samples.append(Sample(family.name, {**named, **extra}, value, None, None))
            shown.times.append(when)
    return shown


def _gauges(view: View, family: Family, metric: Any) -> Iterator[tuple[LabelSet, Written]]:
    own, computed = _own(metric), _computed(metric)
    here = Worker(-1, os.getpid(), True, 0, 0.0)
    found: dict[Key, Written] = {}
    for each in view.alike(family):
        for labels, written in view.gauges(each, own):
            if each is family and labels in computed:
                written = [one for one in written if one[0] is None or one[0].pid != here.pid]
                written.append((here, [computed[labels], time(), 1.0]))
            found.setdefault(_key(each, labels), []).extend(written)
    mine = {_key(family, labels) for labels in own}
    for key, written in found.items():
        if not written and key in mine:
            written = [(here, [0.0, 0.0, 0.0])]
        yield dict(key), written


def _key(family: Family, labels: Labels) -> Key:
    return tuple(zip(family.label_names, labels, strict=True))


def _own(metric: Any) -> dict[Labels, int]:
    """Return this process's children, and after how many removals each was made."""
    found = [] if metric is None else children(metric)
    return {labels_of(child): _made(child) for child in found}


def _made(child: Any) -> int:
    return next((value.made for value in values_of(child) if isinstance(value, GaugeValue)), 0)


def _computed(metric: Any) -> dict[Labels, float]:
    """Call the functions that were given to `Gauge.set_function`, and let other workers know."""
    found: dict[Labels, float] = {}
    for child in () if metric is None else children(metric):
        if "_child_samples" not in vars(child):
            continue
        try:
            value = next(iter(child._child_samples())).value
            child._value.set(value, time())
            found[labels_of(child)] = value
        except Exception as error:
            failures.report("multiprocess.function", error)
    return found


def _time(block: list[float]) -> float:
    return block[TIME]


def _each_worker(written: Written) -> Iterable[tuple[LabelSet, float]]:
    # Containers may have the same pids, at the same time or one after the other.
    found: dict[int, tuple[Worker, float]] = {}
    for worker, block in written:
        if worker is not None:
            held = worker, block[VALUE]
            found[worker.pid] = max(found.get(worker.pid, held), held, key=_youngest)
    for pid, (_, value) in found.items():
        yield {"pid": str(pid)}, value


def _youngest(held: tuple[Worker, float]) -> tuple[bool, float]:
    return held[0].live, held[0].since


def _together(fold: Callable[[Iterable[float]], float]) -> Any:
    def show(written: Written) -> Iterable[tuple[LabelSet, float]]:
        if written:
            yield {}, fold([block[VALUE] for _, block in written])

    return show


def _most_recent(written: Written) -> Iterable[tuple[LabelSet, float]]:
    set_once = [block for _, block in written if block[TIME] > 0]
    if set_once:
        yield {}, max(set_once, key=_time)[VALUE]


GAUGES: dict[str, Callable[[Written], Iterable[tuple[LabelSet, float]]]] = {
    "all": _each_worker,
    "min": _together(min),
    "max": _together(max),
    "sum": _together(sum),
    "mostrecent": _most_recent,
}
SAMPLES: dict[str, Callable[[View, Family, Any], Iterator[Sample]]] = {
    "counter": _counter,
    "summary": _summary,
    "histogram": _histogram,
    "stateset": _stateset,
    "info": _info,
}
