"""The files that `prometheus_client` writes by itself where `PROMETHEUS_MULTIPROC_DIR` is set.

They hold what all processes have counted, and so stand for what this process has of the same
metrics. Nothing in them says which registry a metric is in: those that this process does not have
are shown with REGISTRY.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector, RestrictedRegistry
from prometheus_client.samples import Sample

from prom_middleware import failures
from prom_middleware.multiprocess import gauges
from prom_middleware.multiprocess.gauges import series_of
from prom_middleware.multiprocess.kinds import ADDITIVE
from prom_middleware.multiprocess.shapes import select
from prom_middleware.multiprocess.showing import collectors_of
from prom_middleware.naming import names_of

_read: Any = MultiProcessCollector._read_metrics
_accumulate: Any = MultiProcessCollector._accumulate_metrics
VARIABLES = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")


class Whole:
    """A registry, with the files of all processes in the place of this one's values."""

    def __init__(self, registry: Collector) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        """Return every family once; files that cannot be read are reported and passed over."""
        registry = self._registry
        if not isinstance(registry, RestrictedRegistry):
            return _whole(registry, registry)
        whole = _whole(registry._registry, registry)
        return select(whole, registry._name_set)


def whole(registry: Collector) -> Whole:
    """Return what shows `registry` with what `prometheus_client` wrote in all processes."""
    return Whole(registry)


def _whole(registry: Collector, selected: Collector) -> Iterable[Metric]:
    readers = _readers(registry)
    alone = readers and _directory_of(readers) is not None
    return overlay(registry, _beside(registry, readers) if alone else selected.collect())


def overlay(registry: Collector, families: Iterable[Metric]) -> Iterable[Metric]:
    """Yield `families` of `registry`, but what the files have as the files have it."""
    readers = _readers(registry)
    directory = _directory_of(readers)
    if directory is None:
        return families
    if readers:
        families = _with_stored(families, directory)
    return _over(families, directory, bool(readers) or registry is REGISTRY)


def read(directory: str) -> Iterator[Metric]:
    """Yield what all processes have: what `install()` put into a store, and what is in files."""
    return _over(_with_stored((), directory), directory, True)


def _with_stored(families: Iterable[Metric], directory: str) -> Iterator[Metric]:
    shown = set()
    for family in families:
        shown.add(family.name)
        yield family
    # Where it is ours, it says what is in the place of files.
    stored = getattr(values.ValueClass, "stored", None)
    if stored is not None:
        yield from (family for family in stored(directory) if family.name not in shown)


def together(families: Iterable[Metric]) -> Iterable[Metric]:
    """Return one family of each name, as if all had been written to the same files."""
    found: dict[str, Metric] = {}
    for family in families:
        other = found.get(family.name)
        found[family.name] = family if other is None else _one(other, family)
    return found.values()


def _over(families: Iterable[Metric], directory: str, others: bool) -> Iterator[Metric]:
    files = {family.name: family for family in merged(directory)}
    taken = set()
    for family in families:
        taken.update(names_of(family.name, family.type))
        found = files.pop(family.name, None)
        shown = family if found is None else _one(family, found)
        if found is None or shown.samples:
            yield shown
    for family in files.values() if others else ():
        # Who has written it may have made it as another kind than who has its names now.
        if family.samples and taken.isdisjoint(names_of(family.name, family.type)):
            yield family


def _directory_of(readers: list[MultiProcessCollector]) -> str | None:
    return readers[0]._path if readers else _directory()


def is_reader(collector: object) -> bool:
    """Tell whether `collector` reads the files, as `overlay` does."""
    return isinstance(collector, MultiProcessCollector)


def _directory() -> str | None:
    found = next(filter(None, map(os.environ.get, VARIABLES)), None)
    return found if found and os.path.isdir(found) else None


def _readers(registry: Collector) -> list[MultiProcessCollector]:
    """Return the collectors that read the files, and would fail with the first broken one."""
    if not isinstance(registry, CollectorRegistry):
        return []
    return [each for each in collectors_of(registry) if isinstance(each, MultiProcessCollector)]


def _beside(registry: Any, readers: list[MultiProcessCollector]) -> Iterator[Metric]:
    collectors = collectors_of(registry)
    if registry.get_target_info():
        yield registry._target_info_metric()
    for collector in collectors:
        if collector not in readers:
            yield from collector.collect()


def _one(family: Metric, found: Metric) -> Metric:
    """Return what is shown of a metric that this process has and that the files have."""
    if not getattr(values.ValueClass, "_shared", False):
        return found
    # Ours is what those processes have that called `install()`; the others still write files.
    if family.type != found.type:
        return family
    if isinstance(family, gauges.GaugeFamily) and isinstance(found, gauges.GaugeFamily):
        return gauges.together(family, found)
    samples = {series_of(each): each for each in family.samples}
    for sample in found.samples:
        key = series_of(sample)
        ours = samples.get(key)
        if ours is None:
            samples[key] = sample
        elif sample.name == f"{family.name}_created":
            samples[key] = min(ours, sample, key=_value)
        elif family.type in ADDITIVE:
            samples[key] = ours._replace(value=ours.value + sample.value)
    family.samples = list(samples.values())
    return family


def _value(sample: Sample) -> float:
    return sample.value


def merged(directory: str) -> list[Metric]:
    """Return what `prometheus_client` merges of the files in `directory` that can be read."""
    names = sorted(glob.glob(os.path.join(glob.escape(directory), "*.db")))
    with suppress(Exception):
        return _merge(names)
    try:
        return _merge([name for name in names if _is_sound(name)])
    except Exception as error:
        failures.report("multiprocess.file", error)
        return []


def _merge(names: list[str]) -> list[Metric]:
    """Do as `MultiProcessCollector.merge` does, and keep of gauges what it takes to merge on."""
    read = _read(names)
    times = {name: gauges.times_of(each) for name, each in read.items() if each.type == "gauge"}
    return [
        gauges.of_files(each, times[each.name]) if each.type == "gauge" else each
        for each in _accumulate(read, True)
    ]


def _is_sound(name: str) -> bool:
    try:
        _merge([name])
    except FileNotFoundError:  # its process is gone
        return False
    except Exception as error:
        failures.report("multiprocess.file", error)
        return False
    return True
