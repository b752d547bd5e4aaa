"""Samples of a label set that stand apart, and how they come together.

OpenMetrics wants them together; a collector that is not ours may give them in any order. Nearly all
do as they should, so that finding out is what may cost nothing.
https://prometheus.io/docs/specs/om/open_metrics_spec/#metric
"""

from __future__ import annotations

from collections.abc import Generator
from itertools import chain, groupby, islice, repeat
from operator import attrgetter, contains, is_, itemgetter
from typing import Any, TypeAlias

from prometheus_client import Metric as MetricFamily

from prom_middleware.exposition.formats.points import INNER as OF_SAMPLES

# The label that tells the samples of one label set apart, by the type; a state set's is its name.
INNER = {kind: label for (kind, _), label in OF_SAMPLES.items()}
SLICE = 512  # samples in some tenths of a millisecond

Samples: TypeAlias = Any  # what iterates over them


def together(family: MetricFamily) -> Generator[bytes, None, Samples]:
    """Return a family's samples, those of a label set together; yield now and then."""
    samples: Any = family.samples
    # Those that are made one by one are `prometheus_client`'s own, which come in their order.
    if not isinstance(samples, list) or not _may_stand_apart(family, samples):
        return samples
    inner = family.name if family.type == "stateset" else INNER.get(family.type)
    if (yield from _stand_apart(samples, inner)):
        return (yield from _regrouped(samples, inner))
    return samples


def _may_stand_apart(family: MetricFamily, samples: list[Any]) -> bool:
    """Tell whether a label set may have several samples."""
    if family.type == "stateset" or family.type in INNER:
        return bool(samples)
    if family.type == "counter" and len(set(map(attrgetter("name"), samples))) > 1:
        return True
    return not all(map(is_, map(attrgetter("timestamp"), samples), repeat(None)))


def _stand_apart(samples: list[Any], inner: str | None) -> Generator[bytes, None, bool]:
    names = [name for name in samples[0].labels or () if name != inner]
    if not names:
        # It is one label set, or labels differ.
        return any(set(sample.labels or ()) - {inner} for sample in samples)
    label_set = itemgetter(*names)
    every = map(attrgetter("labels"), samples)
    seen: set[Any] = set()
    before = None
    try:
        while labels := list(islice(every, SLICE)):
            if seen:
                yield b""
            part = [one for one, _ in groupby(map(label_set, labels))]
            known = len(seen) - (part[0] == before)
            seen.update(part)
            if len(seen) < known + len(part) or _has_others(labels, len(names), inner):
                return True
            before = part[-1]
    except (KeyError, TypeError):  # labels differ
        return True
    return False


def _has_others(labels: list[Any], names: int, inner: str | None) -> bool:
    """Tell whether any has more labels than that many, which all have, and the inner one."""
    return sum(map(len, labels)) > names * len(labels) + sum(map(contains, labels, repeat(inner)))


def _regrouped(samples: list[Any], inner: str | None) -> Generator[bytes, None, Samples]:
    groups: dict[Any, list[Any]] = {}
    for place, sample in enumerate(samples, 1):
        labels = (sample.labels or {}).items()
        key = frozenset([pair for pair in labels if pair[0] != inner])
        groups.setdefault(key, []).append(sample)
        if place % SLICE == 0:
            yield b""
    return list(chain.from_iterable(groups.values()))
