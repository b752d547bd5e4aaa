"""How a metric of `prometheus_client` comes to have its numbers in the store.

A metric of REGISTRY is the same in all processes. Other registries have no names: there a metric is
the same as one of its kind and name in another process; where one process has several of them, in
several registries, they are told apart by their order.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import Counter, Enum, Gauge, Histogram, Info, Summary
from prometheus_client.utils import floatToGoString

from prom_middleware.multiprocess.shapes import family_of
from prom_middleware.multiprocess.values import GaugeValue, Home, SharedValue
from prom_middleware.stores import Family

# Where a metric notes its family, and an info or enum the value that it does not have by itself.
FAMILY, SHARED = "_shared_family", "_shared_value"
CLASSES: dict[str, Any] = {each._type: each for each in (Counter, Gauge, Summary, Histogram)}
CLASSES |= {each._type: each for each in (Info, Enum)}


class Nobody:
    """Stands for the registry of metrics that are in none."""


NOBODY = Nobody()


class Scope(str):
    """What the processes call a registry among those that have a metric of the same name.

    The children of a metric are given it in the place of their registry, which they do not use.
    """

    __slots__ = ()


class Adoption:
    """Give metrics their places in one store."""

    def __init__(self, home: Home) -> None:
        self.home = home
        # Which names this process shows by itself, if only in no registry any more.
        self.known: set[tuple[str, str]] = set()
        self._registries: dict[tuple[str, str], list[ref[object]]] = {}
        self._scopes: dict[tuple[str, str], Scope] = {}

    def family(self, metric: Any, registry: CollectorRegistry | None) -> Family:
        """Return the family of a metric that is in `registry`."""
        scope = self._scopes[metric._type, metric._name] = self._scope(metric, registry)
        self.known.add((scope, metric._name))
        return family_of(metric, scope)

    def child_family(self, child: Any, scope: object) -> Family:
        """Return the family of a child; `scope` is its parent's, if that is known."""
        if not isinstance(scope, Scope):
            scope = self._scopes.get((child._type, child._name), Scope())
        return family_of(child, scope)

    def _scope(self, metric: Any, registry: CollectorRegistry | None) -> Scope:
        if registry is REGISTRY:
            return Scope()
        holder = NOBODY if registry is None else registry
        holders = self._registries.setdefault((metric._type, metric._name), [])
        known = [each() for each in holders]
        # The place of one that is gone is free.
        place = next((known.index(each) for each in (holder, None) if each in known), len(known))
        holders[place : place + 1] = [ref(holder)]
        return Scope(f"private {place + 1}")

    def adopt(self, metric: Any, family: Family) -> list[tuple[Any, SharedValue]]:
        """Replace the values of a metric; return the pairs of old and new ones."""
        setattr(metric, FAMILY, family)
        if metric._is_parent():
            return []
        if family.kind == "histogram":
            return self._adopt_histogram(metric, family)
        pairs = []
        for attribute, index, series in VALUES.get(metric._type, ()):
            value = self._value(metric, family, index, series)
            pairs.append((getattr(metric, attribute, None), value))
            setattr(metric, attribute, value)
        return pairs

    def _adopt_histogram(self, metric: Any, family: Family) -> list[tuple[Any, SharedValue]]:
        total = self._value(metric, family, 0, "sum")
        buckets = [
            self._value(metric, family, index, bound)
            for index, bound in enumerate(map(floatToGoString, family.bounds), 1)
        ]
        old = [metric._sum, *metric._buckets]
        metric._sum, metric._buckets = total, buckets
        return list(zip(old, [total, *buckets], strict=True))

    def _value(self, metric: Any, family: Family, index: int, series: str) -> SharedValue:
        make = GaugeValue if metric._type in ("gauge", "stateset") else SharedValue
        value = make(self.home, family, tuple(metric._labelvalues), index, series)
        if index == 0:
            value.begin()
        return value


# Attribute, cell and series of each value.
VALUES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "counter": (("_value", 0, "total"),),
    "gauge": (("_value", 0, "value"),),
    "summary": (("_count", 0, "count"), ("_sum", 1, "sum")),
    "info": ((SHARED, 0, "info"),),
    "stateset": ((SHARED, 0, "state"),),
}


def is_ours(metric: Any) -> bool:
    """Tell whether a metric is of a kind that is known, and shows itself as its kind does."""
    known = CLASSES.get(metric._type)
    return known is not None and type(metric)._child_samples is known._child_samples


def children(metric: Any) -> list[Any]:
    """Return a metric's children, or itself if it has no labels."""
    if not metric._is_parent():
        return [metric]
    with metric._lock:
        return list(metric._metrics.values())


def values_of(child: Any) -> list[SharedValue]:
    """Return the values in the store of a metric without labels, or of a child."""
    attributes = [attribute for attribute, _, _ in VALUES.get(child._type, ())] or ["_sum"]
    found = [getattr(child, attribute, None) for attribute in attributes]
    found += getattr(child, "_buckets", ())
    return [value for value in found if isinstance(value, SharedValue)]
