"""What `install()` replaces in `prometheus_client`: the table `PATCHES`, and nothing else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, values
from prometheus_client.metrics import Enum, Info, MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import RestrictedRegistry

from prom_middleware import failures
from prom_middleware.forks import in_child
from prom_middleware.multiprocess import collecting, existing, files
from prom_middleware.multiprocess.adoption import (
    SHARED,
    Adoption,
    is_ours,
    values_of,
)
from prom_middleware.multiprocess.kinds import FAMILY, KINDS
from prom_middleware.multiprocess.removals import Removals
from prom_middleware.multiprocess.shapes import in_order, kind_of, select
from prom_middleware.multiprocess.values import GaugeValue, Home, SharedValue, provisional_family
from prom_middleware.multiprocess.view import View
from prom_middleware.naming import names_of
from prom_middleware.stores import Family, Labels, Store
from prom_middleware.stores.shared import shared_store

_lock = threading.RLock()
_installed: Adoption | None = None
_originals: dict[tuple[Any, str], Any] = {}
_scrape = threading.local()
_making = threading.local()


@in_child
def _in_child() -> None:
    global _lock
    _lock = threading.RLock()  # a thread that is not in the child may have held the other


def install(store: Store | None = None) -> None:
    """Let all metrics of `prometheus_client` live in `store`, by default the one of this process.

    Does nothing where there is none, in a process that is alone, nor when called again. Metrics
    that were made before are moved with what they have counted.
    """
    with _lock:
        _install(store or shared_store(), everything=True)


def share(store: Store) -> None:
    """Let the metrics of registries that somebody shows live in `store`.

    Others may have been made for one push, and are to count from zero again: they are left alone.
    """
    with _lock:
        _install(store, everything=False)


def _install(store: Store | None, everything: bool) -> None:
    global _installed
    if _installed is None and store is not None:
        _installed = Adoption(Home(store))
        for owner, name, replacement, _ in PATCHES:
            if hasattr(owner, name):  # not every version has them all
                _originals[owner, name] = getattr(owner, name)
                setattr(owner, name, replacement)
    elif _installed is None or _installed.everything or not everything:
        return
    _installed.everything = everything
    existing.move_all(_installed)


def take_in(registry: CollectorRegistry) -> None:
    """Let the metrics of a registry live in the store that others live in already, if any do."""
    with _lock:
        if _installed is not None and not _installed.everything:
            existing.move_those_in(_installed, registry)


def uninstall() -> None:
    """Undo `install()`, for test suites; metrics go on with what this process has in the store."""
    global _installed
    with _lock:
        if _installed is None:
            return
        for (owner, name), original in _originals.items():
            setattr(owner, name, original)
        adoption, _installed = _installed, None
        for metric, _ in existing.find():
            existing.release(metric)
        adoption.home.close()


class ValueClass:
    """Make a value as `prometheus_client` does; its metric finds it a better place."""

    _multiprocess = _shared = True

    def __new__(
        cls,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Iterable[str],
        labelvalues: Iterable[str],
        help_text: str,
        multiprocess_mode: str = "",
        **_: object,
    ) -> Any:
        """Return the value; one that has no metric of ours is in a block of its own."""
        if _installed is None or getattr(_making, "alone", False):
            alone: Any = values.MutexValue
            return alone(typ, metric_name, name, labelnames, labelvalues, help_text)
        family = provisional_family(name, tuple(labelnames), multiprocess_mode)
        make = GaugeValue if typ == "gauge" else SharedValue
        return make(_installed.home, family, tuple(labelvalues), 0, "value")

    @staticmethod
    def stored(directory: str) -> Iterator[Metric]:
        """Yield the metrics that would be in files of `directory` without us: of any registry."""
        adoption = _installed
        if adoption is not None and _is_in(adoption.home.store, directory):
            yield from files.together(_stored(adoption))


def _is_in(store: Store, directory: str) -> bool:
    return getattr(store, "directory", None) == os.path.abspath(directory)


def _construct(self: Any, *args: Any, **kwargs: Any) -> None:
    before = getattr(_making, "alone", False)
    try:
        _making.alone = _is_alone(self, args, kwargs)
    except Exception as error:
        failures.report("multiprocess.metric", error)
    try:
        _originals[MetricWrapperBase, "__init__"](self, *args, **kwargs)
    finally:
        _making.alone = before
    if self._type != "stateset":  # which has no states yet
        _adopt(self, *args, **kwargs)


def _construct_enum(self: Any, *args: Any, **kwargs: Any) -> None:
    _originals[Enum, "__init__"](self, *args, **kwargs)
    _adopt(self, *args, **kwargs)


def _is_alone(metric: Any, args: Any, kwargs: Any) -> bool:
    """Tell whether the values of a metric that is just being made are this process's own."""
    adoption = _installed
    is_child = bool(args[7] if len(args) > 7 else kwargs.get("_labelvalues"))
    name = args[0] if args else kwargs.get("name", "")
    registry = _registry_of(args, kwargs)
    return adoption is not None and not adoption.takes(metric, registry, name if is_child else "")


def _registry_of(args: Any, kwargs: Any) -> Any:
    return args[6] if len(args) > 6 else kwargs.get("registry", REGISTRY)


def _adopt(metric: Any, *args: Any, **kwargs: Any) -> None:
    adoption = _installed
    try:
        if adoption is None or metric._type not in KINDS or not is_ours(metric):
            return
        registry = _registry_of(args, kwargs)
        if not adoption.takes(metric, registry, metric._name if metric._labelvalues else ""):
            return
        if not metric._labelvalues:
            family = adoption.family(metric, registry)
        else:
            family = adoption.child_family(metric, registry)
        adoption.adopt(metric, family)
        existing.remember_family(metric, family)
    except Exception as error:
        failures.report("multiprocess.metric", error)


def _collect_metric(self: Any) -> Iterable[Metric]:
    family = vars(self).get(FAMILY)
    if _installed is not None and family is not None and not self._labelvalues:
        try:
            return [collecting.collect(_view(_installed), family, self)]
        except Exception as error:
            failures.report("multiprocess.collect", error)
            return []  # with what this process has of it, a counter would seem to have fallen
    found: Iterable[Metric] = _originals[MetricWrapperBase, "collect"](self)
    return found


class Scrape:
    """One collection of a registry, for which one look at the store is enough."""

    view: View | None = None

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry


def _view(adoption: Adoption) -> View:
    scrape: Scrape | None = getattr(_scrape, "now", None)
    if scrape is None:
        return adoption.home.view()
    if scrape.view is None:
        scrape.view = adoption.home.view()
    return scrape.view


def within(scrape: Scrape, families: Iterable[Metric]) -> Iterator[Metric]:
    """Yield `families`, each collected as a part of `scrape`; what is done in between is none."""
    iterator = iter(families)
    while True:
        before, _scrape.now = getattr(_scrape, "now", None), scrape
        try:
            family = next(iterator)
        except StopIteration:
            return
        finally:
            _scrape.now = before
        yield family


def _collect_registry(self: CollectorRegistry) -> Iterator[Metric]:
    scrape = Scrape(self)
    yield from within(scrape, _originals[CollectorRegistry, "collect"](self))
    if self is REGISTRY:
        yield from within(scrape, of_others())


def _collect_restricted(self: RestrictedRegistry) -> Iterator[Metric]:
    scrape = Scrape()
    yield from within(scrape, _originals[RestrictedRegistry, "collect"](self))
    if self._registry is REGISTRY:
        yield from select(within(scrape, of_others()), self._name_set)


def _collect_reader(self: MultiProcessCollector) -> Iterable[Metric]:
    scrape: Scrape | None = getattr(_scrape, "now", None)
    # REGISTRY shows by itself what is in the store. Without a scrape, one asks for names that
    # nobody else may have from then on: those of metrics that are still to be made.
    if scrape is None or scrape.registry is REGISTRY:
        found: Iterable[Metric] = _originals[MultiProcessCollector, "collect"](self)
        return found
    return files.read(self._path)


def of_others() -> Iterator[Metric]:
    """Yield the metrics of REGISTRY that other workers have made, and this one has not."""
    adoption = _installed
    if adoption is None:
        return
    shown = set(REGISTRY._names_to_collectors) | {name for _, name in adoption.known}
    yield from _stored(adoption, lambda each: each.scope == "" and shown.isdisjoint(_names(each)))


def _stored(
    adoption: Adoption, wanted: Callable[[Family], bool] = lambda _: True
) -> Iterator[Metric]:
    """Yield users' metrics that are `wanted`, whoever has made them: those of `_newest`."""
    try:
        view = _view(adoption)
        families = _newest(filter(wanted, view.snapshot.families()))
    except Exception as error:
        failures.report("multiprocess.collect", error)
        return
    for family in families:
        yield from _of_one(view, family)


def _newest(families: Iterable[Family]) -> list[Family]:
    """Return those of which no later one of the same scope has a name: its kind may be another."""
    found: list[Family] = []
    taken: set[tuple[str, str]] = set()
    for family in reversed([each for each in families if kind_of(each) in KINDS]):
        names = {(family.scope, name) for name in _names(family)}
        if taken.isdisjoint(names):
            taken |= names
            found.insert(0, family)
    return found


def _names(family: Family) -> list[str]:
    return names_of(family.name, kind_of(family))


def _of_one(view: View, family: Family) -> list[Metric]:
    try:
        metric: Any = REGISTRY._names_to_collectors.get(family.name)
        ours = getattr(metric, FAMILY, None) == family
        return [collecting.collect(view, family, metric if ours else None)]
    except Exception as error:  # the others are none the worse for it
        failures.report("multiprocess.collect", error)
        return []


def _remove(self: Any, *labelvalues: Any) -> None:
    if not self._labelnames:
        raise ValueError(f"No label names were set when constructing {self}")
    if len(labelvalues) != len(self._labelnames):
        expected = len(self._labelnames)
        raise ValueError(f"Incorrect label count (expected {expected}, got {labelvalues})")
    labels = tuple(map(str, labelvalues))
    with self._lock:
        _drop(self, labels)
    _in_all_workers(self, Removals.remove, in_order(self._labelnames, labels))


def _remove_by_labels(self: Any, labels: dict[str, str]) -> None:
    if not self._labelnames:
        raise ValueError(f"No label names were set when constructing {self}")
    if not isinstance(labels, dict):
        raise TypeError("labels must be a dict of {label_name: label_value}")
    unknown = [name for name in labels if name not in self._labelnames]
    if unknown:
        raise ValueError(f"Unknown label names: {unknown}; expected {self._labelnames}")
    if labels:
        _remove_where(self, labels)


def _clear(self: Any) -> None:
    if self._labelnames:
        _remove_where(self, {})


def _remove_where(metric: Any, wanted: dict[str, str]) -> None:
    chosen = _having(metric._labelnames, wanted)
    with metric._lock:
        for labels in [labels for labels in metric._metrics if chosen(labels)]:
            _drop(metric, labels)
    _in_all_workers(metric, Removals.remove_where, _having(sorted(metric._labelnames), wanted))


def _having(names: Sequence[str], wanted: dict[str, str]) -> Callable[[Labels], bool]:
    """Return what tells whether the values of `names` have all that is `wanted`."""
    places = [(names.index(name), str(value)) for name, value in wanted.items()]
    return lambda labels: all(labels[at] == value for at, value in places)


def _drop(metric: Any, labels: Labels) -> None:
    child = metric._metrics.pop(labels, None)
    for value in () if child is None else values_of(child):
        value.leave()


def _in_all_workers(metric: Any, remove: Callable[..., None], what: object) -> None:
    family = vars(metric).get(FAMILY)
    if _installed is not None and family is not None:
        _installed.home.turn.update(_remove_shared, _installed, remove, family, what)


def _remove_shared(
    adoption: Adoption, remove: Callable[..., None], family: Family, what: object
) -> None:
    try:
        remove(adoption.home.removals, family, what)
    except Exception as error:
        failures.report("multiprocess.remove", error)


def _info(self: Any, val: dict[str, str]) -> None:
    _originals[Info, "info"](self, val)
    _tell(self, existing.tell_info)


def _state(self: Any, state: str) -> None:
    _originals[Enum, "state"](self, state)
    _tell(self, existing.tell_state)


def _tell(child: Any, tell: Callable[[Any, SharedValue], object]) -> None:
    value = vars(child).get(SHARED)
    if value is not None:
        try:
            tell(child, value)
        except Exception as error:
            failures.report("multiprocess.text", error)


# Owner, attribute, what stands there after `install()`, and why.
PATCHES: tuple[tuple[Any, str, Any, str], ...] = (
    (values, "ValueClass", ValueClass, "numbers live in the store"),
    (MetricWrapperBase, "__init__", _construct, "a metric knows its registry, and all its cells"),
    (Enum, "__init__", _construct_enum, "an enum knows its states later than the others"),
    (MetricWrapperBase, "collect", _collect_metric, "what all workers have is shown"),
    (MetricWrapperBase, "remove", _remove, "in all workers, and without the warning"),
    (MetricWrapperBase, "remove_by_labels", _remove_by_labels, "the same"),
    (MetricWrapperBase, "clear", _clear, "the same"),
    (Info, "info", _info, "an info uses no ValueClass"),
    (Enum, "state", _state, "nor does an enum"),
    (CollectorRegistry, "collect", _collect_registry, "one look at the store; others' metrics"),
    (RestrictedRegistry, "collect", _collect_restricted, "the same"),
    (MultiProcessCollector, "collect", _collect_reader, "reads what would be in files"),
)
