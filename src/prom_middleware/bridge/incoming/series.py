"""What was received: series by name and labels, so many and for so long as was agreed."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client.core import Metric

from prom_middleware.bridge.incoming.values import Value
from prom_middleware.forks import renew_in_child
from prom_middleware.naming import names_of

Labels = tuple[tuple[str, str], ...]
PURGE = 1.0  # seconds between two looks at what has expired
# Kinds of ours that are another one for Prometheus.
TYPES = {"set": "gauge"}


class RefusedError(Exception):
    """A sample that cannot be taken, and the reason under which that is counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Target(NamedTuple):
    """Where a sample goes: which family, and what a series in it is.

    `ttl` is in seconds after the last sample, 0 for ever.
    """

    name: str
    kind: str
    text: str
    ttl: float
    make: Callable[[], Value]

    def family(self) -> Metric:
        """Return the family without series."""
        return Metric(self.name, self.text, TYPES.get(self.kind, self.kind))


class Series:
    """A value, and the time after which nobody is interested in it; 0 is never."""

    __slots__ = ("expires", "value")

    def __init__(self, value: Value) -> None:
        self.value = value
        self.expires = 0.0

    def has_expired(self, now: float) -> bool:
        """Tell whether that time has come."""
        return 0.0 < self.expires <= now


class Family:
    """The series of one name; they are of one kind, whatever labels they have."""

    __slots__ = ("names", "series", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        family = target.family()
        self.names = names_of(family.name, family.type)
        self.series: dict[Labels, Series] = {}

    def purge(self, now: float) -> float:
        """Remove the series that have expired; return when the next one of the others does."""
        self.series = {key: one for key, one in self.series.items() if not one.has_expired(now)}
        return min((one.expires for one in self.series.values() if one.expires), default=math.inf)

    def metric(self, now: float) -> Metric:
        """Return the family as a registry has it."""
        metric = self.target.family()
        for labels, one in self.series.items():
            if one.has_expired(now):
                continue
            for suffix, own, value in one.value.samples():
                metric.add_sample(self.target.name + suffix, {**dict(labels), **own}, value)
        return metric


class Store:
    """All families, `limit` series at most; hold `lock` while finding."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.renew()
        renew_in_child(self, Store.renew)
        self.count = 0
        self.clock = clock
        self._limit = limit
        self._purged = 0.0
        self._expires = math.inf  # nothing does before
        self._families: dict[str, Family] = {}
        self._names: set[str] = set()

    def renew(self) -> None:
        """Have the lock be free: a thread that is not in a forked child may have held it."""
        self.lock = threading.RLock()

    def find(self, target: Target, labels: Mapping[str, str], age: float = 0.0) -> Value:
        """Return the value of a series, which is made when it is new; `age` is the sample's.

        Raises RefusedError where that has expired already, the name is one of another family, or
        there are too many series.
        """
        now = self.clock()
        if 0.0 < target.ttl <= age:
            raise RefusedError("too_old")
        family = self._families.get(target.name)
        if family is not None and family.target.kind != target.kind:
            raise RefusedError("conflicting_type")
        key: Labels = tuple(sorted(labels.items()))
        one = family.series.get(key) if family is not None else None
        if one is None or one.has_expired(now):
            one = self._add(target, key, now)
        one.expires = now + target.ttl - age if target.ttl else 0.0
        self._expires = min(self._expires, one.expires or math.inf)
        return one.value

    def families(self) -> Iterator[Metric]:
        """Yield all families that have series; this takes the lock for one at a time."""
        with self.lock:
            self._purge(self.clock())
            families = list(self._families.values())
        for family in families:
            with self.lock:
                metric = family.metric(self.clock())
            if metric.samples:
                yield metric

    def _add(self, target: Target, key: Labels, now: float) -> Series:
        if now - self._purged > PURGE:
            self._purge(now)
        family = self._families.get(target.name)
        if family is None or key not in family.series:
            if self.count >= self._limit:
                raise RefusedError("series_limit")
            family = family or self._begin(target)
            self.count += 1
        family.series[key] = one = Series(target.make())
        return one

    def _begin(self, target: Target) -> Family:
        """Return a new family, which has names that no other one may have samples under."""
        family = Family(target)
        if not self._names.isdisjoint(family.names):
            raise RefusedError("conflicting_type")
        self._names.update(family.names)
        self._families[target.name] = family
        return family

    def _purge(self, now: float) -> None:
        self._purged = now
        if now < self._expires:
            return
        self._expires = math.inf
        for name, family in list(self._families.items()):
            self.count -= len(family.series)
            self._expires = min(self._expires, family.purge(now))
            self.count += len(family.series)
            if not family.series:
                del self._families[name]
                self._names.difference_update(family.names)
