"""Metrics that were made before `install()`: finding them, and moving what they have counted."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from time import time
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, values
from prometheus_client.metrics import MetricWrapperBase

from prom_middleware import failures
from prom_middleware.multiprocess import inherited
from prom_middleware.multiprocess.adoption import (
    SHARED,
    Adoption,
    Parent,
    children,
    is_original,
    is_ours,
)
from prom_middleware.multiprocess.kinds import FAMILY
from prom_middleware.multiprocess.locks import guard
from prom_middleware.multiprocess.shapes import INHERITANCES, kind_of
from prom_middleware.multiprocess.showing import collectors_of, is_shown, shown
from prom_middleware.multiprocess.values import GaugeValue, Home, SharedValue
from prom_middleware.stores import Family

# The files in which `prometheus_client` had values that were moved, with their keys.
Files = dict[Any, set[str]]


def move_all(adoption: Adoption) -> None:
    """Move every metric of this process into the store that is to be there."""
    _move_each(adoption, [pair for pair in find() if adoption.takes(*pair)])


def move_those_in(adoption: Adoption, registry: CollectorRegistry) -> None:
    """Move the metrics of one registry."""
    collectors = collectors_of(registry)
    found: list[Any] = [each for each in collectors if isinstance(each, MetricWrapperBase)]
    _move_each(adoption, [(metric, registry) for metric in found if _is_whole(metric)])


def _move_each(adoption: Adoption, found: Iterable[tuple[Any, CollectorRegistry | None]]) -> None:
    files: Files = {}
    for metric, registry in found:
        try:
            if FAMILY not in vars(metric):
                move(adoption, metric, registry, files)
        except Exception as error:
            failures.report("multiprocess.install", error)
    for file, moved in files.items():
        try:
            _leave_file(file, moved)
        except Exception as error:
            failures.report("multiprocess.install", error)


def _leave_file(file: Any, moved: set[str]) -> None:
    """Have what was moved not be shown twice.

    A process that is gone may have had this pid, and what it has counted is in the same file. (So
    may be its gauges; but of those that were moved there would be two, one of them zero.)
    """
    keys = {key for key, *_ in file.read_all_values()}
    if keys <= moved or os.path.basename(file._fname).startswith("gauge"):
        with suppress(OSError):
            os.unlink(file._fname)
        return
    for key in keys & moved:
        file.write_value(key, 0.0, 0.0)


def find() -> list[tuple[Any, CollectorRegistry | None]]:
    """Return each metric, parents and those without labels, with the registry that it is in."""
    classes, registry_classes = _classes(MetricWrapperBase), _classes(CollectorRegistry)
    # What refers to a class are its instances, among others. `gc.get_objects` would also give what
    # another thread is making: its `tuple(...)` then raises SystemError, and a request fails.
    # By type(): to ask a proxy for its class may call anything.
    objects: list[Any] = gc.get_referrers(*classes, *registry_classes)
    registries: list[Any] = [REGISTRY]
    registries += [each for each in objects if type(each) in registry_classes]
    # `gc.freeze`, by which memory is to be shared with children, hides what there is.
    registries += shown()
    found: dict[int, tuple[Any, CollectorRegistry | None]] = {}
    for registry in registries:
        for collector in collectors_of(registry):
            known = found.get(id(collector))
            if known is None or (is_shown(registry) and not is_shown(known[1])):
                found[id(collector)] = collector, registry
    for each in objects:
        if type(each) in classes:
            found.setdefault(id(each), (each, None))
    return [pair for pair in found.values() if type(pair[0]) in classes and _is_whole(pair[0])]


def _classes(base: type) -> set[type]:
    found = {base}
    subclasses: list[type] = base.__subclasses__()
    for each in subclasses:
        found |= _classes(each)
    return found


def _is_whole(metric: Any) -> bool:
    # Not a child, which has its parent's registry; not one that is just being made.
    return hasattr(metric, "_unit") and bool(metric._is_parent() or not metric._labelnames)


def move(adoption: Adoption, metric: Any, registry: CollectorRegistry | None, files: Files) -> None:
    """Move one metric and its children; `files` gets those that it had used."""
    if not is_ours(metric):
        return
    family = adoption.family(metric, registry)
    setattr(metric, FAMILY, family)
    remember_family(metric, family)
    for child in children(metric):
        for old, new in adoption.adopt(child, family):
            _carry(old, new, files)
        _tell(child)


def _is_heir(home: Home) -> bool:
    """Tell whether it is this process that brings what all have inherited.

    The first one that asks does. So does each one that cannot ask: what is there twice is less
    wrong than what is gone.
    """
    process, heir = home.heir
    if process != os.getpid():
        claim = partial(home.store.claim, INHERITANCES, (inherited.ROOT,))
        heir = home.turn.read(claim) is not False
        home.heir = os.getpid(), heir
    return heir


def remember_family(metric: Any, family: Family) -> None:
    """Have the children of a metric know its family, and be made whatever else is done then."""
    if not metric._is_parent():
        return
    guard(metric)
    # `labels()` gives these arguments to the constructor; a class of the user's may not take them.
    if is_original(metric):
        metric._kwargs["registry"] = Parent(family)


def _carry(old: Any, new: SharedValue, files: Files) -> None:
    if old is None or isinstance(old, SharedValue):
        return
    exemplar, amount = old.get_exemplar(), _take(old, new)
    if hasattr(old, "_file"):
        # Of this process, and so is what it has.
        files.setdefault(old._file, set()).add(old._key)
    else:
        amount = _own(new, amount, inherited.take_note(old))
    # Only a file says when: a zero without that may be one that nobody has set.
    when = getattr(old, "_timestamp", 0.0)
    if isinstance(new, GaugeValue):
        if amount or when:
            new.set(amount, when or time())
    elif amount:
        new.inc(amount)
    if exemplar is not None:
        new.set_exemplar(exemplar)


def _own(value: SharedValue, amount: float, noted: float) -> float:
    """Return what of an amount this process brings, of which it has inherited what was `noted`."""
    if not noted or _is_heir(value.home):
        return amount
    is_anew = amount < noted and kind_of(value.family) == "counter"  # `Counter.reset`
    return amount if is_anew else amount - noted


class Moved(values.MutexValue):
    """What was a value before; what others still do to it is done to the one in the store.

    A thread may have called `inc` and wait for the lock: then it changes `_value` next.
    """

    _new: SharedValue

    def inc(self, amount: float) -> None:
        """Add to the number in the store."""
        self._new.inc(amount)

    def set(self, value: float, timestamp: float | None = None) -> None:
        """Set the number in the store."""
        self._new.set(value, timestamp)

    def get(self) -> float:
        """Return this process's part of the number in the store."""
        return self._new.get()

    @property
    def _value(self) -> float:
        return self._new.get() if isinstance(self._new, GaugeValue) else 0.0

    @_value.setter
    def _value(self, value: float) -> None:
        change = self._new.set if isinstance(self._new, GaugeValue) else self._new.inc
        change(value)


def _take(old: Any, new: SharedValue) -> float:
    """Return what `old` has counted; what is still on its way goes to `new`."""
    if old.__class__ is not values.MutexValue:
        old.inc, old.set = new.inc, new.set
        return float(old.get())
    with old._lock:
        amount = float(old._value)
        vars(old)["_new"], old.__class__ = new, Moved
    return amount


def release(metric: Any) -> None:
    """Give a metric values of its own again, with what this process has in the store."""
    for child in (metric, *children(metric)):
        for attribute, value in list(vars(child).items()):
            if isinstance(value, SharedValue):
                setattr(child, attribute, _alone(value))
        if isinstance(getattr(child, "_buckets", None), list):
            child._buckets = [_alone(value) for value in child._buckets]
        child._kwargs.pop("registry", None)
        vars(child).pop(FAMILY, None)
        vars(child).pop(SHARED, None)


def _alone(value: SharedValue) -> Any:
    make: Any = values.MutexValue
    alone = make("", "", "", (), (), "")
    alone.set(value.get())
    return alone


def _tell(child: Any) -> None:
    """Say in the store what an info says, or which state an enum is in."""
    value = getattr(child, SHARED, None)
    if value is not None and child._value:
        TELL[child._type](child, value)


def tell_info(child: Any, value: SharedValue) -> None:
    """Say in the store what an info says."""
    value.say(json.dumps(child._value, sort_keys=True), 1.0, time())


def tell_state(child: Any, value: SharedValue) -> None:
    """Say in the store which state an enum is in."""
    value.set(float(child._value), time())


TELL = {"info": tell_info, "stateset": tell_state}
