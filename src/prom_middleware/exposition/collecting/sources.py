"""The collectors of a registry, and how each of them is asked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeGuard

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client import Metric as MetricFamily
from prometheus_client.registry import Collector

from prom_middleware.exposition.collecting.direct import direct_family
from prom_middleware.exposition.collecting.live import CLASSES, calls_out, live_family
from prom_middleware.instrumentation.collector import RequestCollector
from prom_middleware.multiprocess.files import is_reader, whole
from prom_middleware.stores.shared import named_directory

Wants = Callable[[Iterable[str]], bool]
# What is known to come back: nothing of a user's is called.
QUICK = CLASSES | {GCCollector, PlatformCollector, ProcessCollector, RequestCollector}


class Source(NamedTuple):
    """A collector, and how it is asked; one that is not `quick` may hang."""

    collector: Any
    collect: Callable[[], Iterable[MetricFamily]]
    quick: bool = True


def sources_of(registry: Collector, wants: Wants) -> Generator[None, None, list[Source]]:
    """Return the collectors of `registry` that may have what is wanted, in its order.

    Yields now and then: some have a hundred thousand children.
    """
    if not is_plain(registry):
        return [Source(registry, _whole(registry).collect, quick=False)]
    with registry._lock:
        described = dict(registry._collector_to_names)
    described = {one: names for one, names in described.items() if not _reads_files(one)}
    found = []
    if registry.get_target_info() and wants(["target", "target_info"]):
        target: Any = registry._target_info_metric
        found.append(Source(None, lambda: [target()]))
    for collector, names in described.items():
        if wants(names):
            found.append((yield from _source(collector)))
    return [*_together(registry, found)]


def is_plain(registry: Collector) -> TypeGuard[CollectorRegistry]:
    """Tell whether a registry is no more than its collectors."""
    is_registry = isinstance(registry, CollectorRegistry)
    return is_registry and type(registry).collect is CollectorRegistry.collect


def _whole(registry: Collector) -> Collector:
    return registry if named_directory() is None else whole(registry)


def _reads_files(collector: object) -> bool:
    """Tell whether a collector reads what `overlay` reads as well."""
    return named_directory() is not None and is_reader(collector)


def _source(collector: Any) -> Generator[None, None, Source]:
    quick = type(collector) in QUICK and not (yield from calls_out(collector))
    read = (direct_family(collector) or live_family(collector)) if quick else None
    return Source(collector, collector.collect if read is None else lambda: [read], quick)


def _together(registry: CollectorRegistry, sources: list[Source]) -> Iterator[Source]:
    """Have metrics that are those of all workers look at the store once for all of them."""
    patches = sys.modules.get("prom_middleware.multiprocess.patches")
    if patches is None:
        yield from sources
        return
    scrape = patches.Scrape()
    for source in sources:
        yield source._replace(collect=partial(_within, patches, scrape, source.collect))
    yield Source(None, partial(_within, patches, scrape, partial(_others, patches, registry)))


def _within(
    patches: Any, scrape: Any, collect: Callable[[], Iterable[MetricFamily]]
) -> Iterator[MetricFamily]:
    def later() -> Iterator[MetricFamily]:
        yield from collect()

    found: Iterator[MetricFamily] = patches.within(scrape, later())
    return found


def _others(patches: Any, registry: CollectorRegistry) -> Iterable[MetricFamily]:
    from prometheus_client import REGISTRY

    found: Iterable[MetricFamily] = patches.of_others() if registry is REGISTRY else ()
    return found
