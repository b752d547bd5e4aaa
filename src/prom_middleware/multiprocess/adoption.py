"""How a metric of `prometheus_client` comes to have its numbers in the store.

A metric of REGISTRY is the same in all processes. Other registries have no names: there a metric is
the same as one of its kind and name in another process; where one process has several of them, in
several registries, they are told apart by their order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple
from weakref import ref

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import (
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    MetricWrapperBase,
    Summary,
)
from prometheus_client.utils import floatToGoString

from prom_middleware.multiprocess.kinds import FAMILY
from prom_middleware.multiprocess.shapes import family_of, in_order
from prom_middleware.multiprocess.showing import is_shown
from prom_middleware.multiprocess.values import (
    GaugeValue,
    Home,
    InfoValue,
    SharedValue,
    is_provisional,
)
from prom_middleware.stores import Family, Labels

# Where an info or enum notes the value that it does not have by itself.
SHARED = "_shared_value"
CLASSES: dict[str, Any] = {each._type: each for each in (Counter, Gauge, Summary, Histogram)}
CLASSES |= {each._type: each for each in (Info, Enum)}
# What keeps more than a value, where it is no gauge with a mode.
KINDS: dict[str, type[SharedValue]] = {"info": InfoValue}


class Nobody:
    """Stands for the registry of metrics that are in none."""


NOBODY = Nobody()


class Parent(NamedTuple):
    """What the children of a metric are given in the place of their registry: they use none."""

    family: Family


class Adoption:
    """Give metrics their places in one store."""

    def __init__(self, home: Home) -> None:
        self.home = home
        # Whether registries are shared that nobody shows, too.
        self.everything = False
        # Which names this process shows by itself, if only in no registry any more.
        self.known: set[tuple[str, str]] = set()
        self._registries: dict[tuple[str, str], list[ref[object]]] = {}
        # By which a class of the user's, whose children get no such thing, is found again.
        self._scopes: dict[tuple[str, str], str] = {}

    def takes(self, metric: Any, registry: object, child_of: str = "") -> bool:
        """Tell whether a metric in `registry`, or a child of one, is to be in the store."""
        if self.everything or isinstance(registry, Parent):
            return True
        if child_of:  # an original one would have been told its parent's family
            return not is_original(metric) and (metric._type, child_of) in self._scopes
        return registry is None or is_shown(registry)

    def family(self, metric: Any, registry: CollectorRegistry | None) -> Family:
        """Return the family of a metric that is in `registry`."""
        scope = self._scopes[metric._type, metric._name] = self._scope(metric, registry)
        self.known.add((scope, metric._name))
        return family_of(metric, scope)

    def child_family(self, child: Any, parent: object) -> Family:
        """Return the family of a child, which is its parent's."""
        if isinstance(parent, Parent):
            return parent.family
        return family_of(child, self._scopes.get((child._type, child._name), ""))

    def _scope(self, metric: Any, registry: CollectorRegistry | None) -> str:
        # What the processes call a registry among those that have a metric of the same name.
        if registry is REGISTRY:
            return ""
        holder = NOBODY if registry is None else registry
        holders = self._registries.setdefault((metric._type, metric._name), [])
        known = [each() for each in holders]
        # The place of one that is gone is free.
        place = next((known.index(each) for each in (holder, None) if each in known), len(known))
        holders[place : place + 1] = [ref(holder)]
        return f"private {place + 1}"

    def adopt(self, metric: Any, family: Family) -> list[tuple[Any, SharedValue]]:
        """Replace the values of a metric; return the pairs of old and new ones."""
        setattr(metric, FAMILY, family)
        if metric._is_parent():
            return []
        if family.kind == "histogram":
            return self._adopt_histogram(metric, family)
        pairs = []
        for attribute, index, series in VALUES.get(metric._type, ()):
            old = getattr(metric, attribute, None)
            value = self._value(old, metric, family, index, series)
            pairs.append((old, value))
            setattr(metric, attribute, value)
        return pairs

    def _adopt_histogram(self, metric: Any, family: Family) -> list[tuple[Any, SharedValue]]:
        old = [metric._sum, *metric._buckets]
        new = [
            self._value(each, metric, family, index, series)
            for index, (each, series) in enumerate(zip(old, _series(family.bounds), strict=True))
        ]
        metric._sum, metric._buckets = new[0], new[1:]
        return list(zip(old, new, strict=True))

    def _value(self, old: Any, metric: Any, family: Family, index: int, series: str) -> SharedValue:
        make = GaugeValue if family.mode else KINDS.get(family.kind, SharedValue)
        place = self.home, family, labels_of(metric), index, series
        if metric._labelvalues and is_provisional(old, self.home) and type(old) is make:
            # Nobody has a child before it is made: it takes half the time to let it keep its own.
            value: SharedValue = old
            value.move(*place)
        else:
            value = make(*place)
        if index == 0:
            value.begin()
        return value


@lru_cache(maxsize=256)
def _series(bounds: tuple[float, ...]) -> tuple[str, ...]:
    return ("sum", *map(floatToGoString, bounds))


# Attribute, cell and series of each value.
VALUES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "counter": (("_value", 0, "total"),),
    "gauge": (("_value", 0, "value"),),
    "summary": (("_count", 0, "count"), ("_sum", 1, "sum")),
    "info": ((SHARED, 0, "info"),),
    "stateset": ((SHARED, 0, "state"),),
}


def is_original(metric: Any) -> bool:
    """Tell whether a metric's class is of `prometheus_client`, and none that a user derived."""
    return type(metric).__module__ == MetricWrapperBase.__module__


def is_ours(metric: Any) -> bool:
    """Tell whether a metric is of a kind that is known, and shows itself as its kind does."""
    known = CLASSES.get(metric._type)
    return known is not None and type(metric)._child_samples is known._child_samples


def labels_of(child: Any) -> Labels:
    """Return the label values of a child, as its family has them."""
    values: Labels = tuple(child._labelvalues)
    return in_order(child._labelnames, values) if len(values) > 1 else values


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
