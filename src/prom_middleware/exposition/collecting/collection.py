"""From a registry to families, collector by collector, so that one that is broken breaks no other.

Those that are known not to hang are asked where the scrape is made, and the metrics that
`prometheus_client` makes are read as they are written. All others run beside (`runs`). What is
garbage, and what would be there twice, is left out: one such series, and a scraper drops the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from time import perf_counter
from typing import Any

from prometheus_client import Metric as MetricFamily
from prometheus_client.registry import Collector

from prom_middleware import failures
from prom_middleware.exposition.collecting.checks import (
    GarbageError,
    check_family,
    check_samples,
)
from prom_middleware.exposition.collecting.live import LiveFamily
from prom_middleware.exposition.collecting.runs import PATIENCE, Batch, HangingError, Run
from prom_middleware.exposition.collecting.sources import Source, Wants, is_plain, sources_of
from prom_middleware.exposition.selection.parameters import with_samples
from prom_middleware.instrumentation.families import BlockFamily
from prom_middleware.multiprocess.files import overlay
from prom_middleware.naming import names_of
from prom_middleware.stores.shared import named_directory

# Work in slices: what is yielded says whether there is nothing to do but wait.
Steps = Generator[bool | None, None, None]
TRUSTED = (BlockFamily, LiveFamily)


class Collection:
    """What one registry has at one time."""

    def __init__(self, registry: Collector, wants: Wants, wake: Callable[[], object]) -> None:
        self.families: list[MetricFamily] = []
        self.errors: list[str] = []
        self.late: list[Run] = []
        self._registry = registry
        self._wants = wants
        self._batch = Batch(wake)
        self._counted: set[str] = set()
        self._taken: dict[str, str] = {}

    def steps(self, seconds: float) -> Steps:
        """Collect; what takes over a second is left for later, what takes `seconds` is left out."""
        sources = yield from sources_of(self._registry, self._wants)
        runs = [
            None if one.quick else self._batch.add(one.collector, one.collect) for one in sources
        ]
        self._batch.start()
        found: list[MetricFamily] = []
        for source, run in zip(sources, runs, strict=True):
            if run is None:
                found += self._quick(source)
            else:
                yield from self._wait(run, seconds)
                found += self._of_run(run, seconds)
            yield None
        yield from self._accept(self._of_all_processes(found))

    def take_late(self) -> Steps:
        """Add what came after all."""
        for run in [run for run in self.late if run.done]:
            self.late.remove(run)
            yield from self._accept(self._of_run(run, 0))

    def waits_for(self, seconds: float, deadline: float) -> bool:
        """Tell whether something may still come for a scrape that may take `seconds`."""
        self._batch.hurry(seconds)
        if perf_counter() >= deadline:
            return False
        return any(run.done or run.age < seconds for run in self.late)

    def leave(self) -> None:
        """Begin what still waits in the queue, and wait for nothing: the first there may hang."""
        self._batch.start()

    def missing(self) -> list[str]:
        """Return what has not come, in words."""
        return [f"{_name(run.collector)} has not come back in time" for run in self.late]

    def count_missing(self) -> None:
        """Count what has not come, once."""
        for words in self.missing():
            if words not in self._counted:
                self._counted.add(words)
                failures.report("collector.timeout", HangingError(words))

    def fail(self, cause: str, error: BaseException, subject: Any = None) -> None:
        """Count what went wrong, and keep it for who wants to know."""
        failures.report(cause, error)
        words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        self.errors.append(words if subject is None else f"{_name(subject)}: {words}")

    def _quick(self, source: Source) -> Iterable[MetricFamily]:
        try:
            return list(source.collect())
        except Exception as error:
            self.fail("collector", error, source.collector)
            return ()

    def _wait(self, run: Run, seconds: float) -> Steps:
        began = perf_counter()
        while not run.done and max(perf_counter() - began, run.age) < min(seconds / 2, PATIENCE):
            self._batch.hurry(seconds)
            yield True

    def _of_run(self, run: Run, seconds: float) -> Iterable[MetricFamily]:
        if not run.done:
            self.late.append(run)
        elif run.error is not None:
            self.fail("collector", run.error, run.collector)
        else:
            return run.families
        return ()

    def _of_all_processes(self, families: list[MetricFamily]) -> list[MetricFamily]:
        """Return `families` with what other processes have written for `prometheus_client`."""
        if named_directory() is None or not is_plain(self._registry):
            return families
        try:
            return list(overlay(self._registry, families))
        except Exception as error:
            self.fail("multiprocess.file", error)
            return families

    def _accept(self, families: Iterable[MetricFamily]) -> Steps:
        groups: dict[str, list[MetricFamily]] = {}
        for family in families:
            try:
                if not isinstance(family, TRUSTED):
                    check_family(family)
                groups.setdefault(family.name, []).append(family)
            except Exception as error:
                self.fail("collector.garbage", error)
        for group in groups.values():
            yield from self._accept_group(group)

    def _accept_group(self, group: list[MetricFamily]) -> Steps:
        """Add families of one name as one: a second one would spoil the scrape."""
        accepted: list[MetricFamily] = []
        seen: set[int] = set()
        for family in group:
            try:
                self._check_beside(family, accepted)
                if not isinstance(family, TRUSTED):
                    yield from check_samples(family, seen)
                accepted.append(family)
            except Exception as error:
                self.fail("collector.garbage", error)
        if accepted:
            one = _one(accepted)
            self._taken.update(dict.fromkeys(names_of(one.name, one.type), one.name))
            self.families.append(one)

    def _check_beside(self, family: MetricFamily, accepted: list[MetricFamily]) -> None:
        for name in names_of(family.name, family.type):
            if name in self._taken:
                raise GarbageError(
                    f"{family.name}: {name} is a name of {self._taken[name]} already"
                )
        for other in accepted:
            if (
                other.type != family.type
                or isinstance(other, TRUSTED)
                or isinstance(family, TRUSTED)
            ):
                raise GarbageError(f"{family.name} is there twice")


def _one(families: list[MetricFamily]) -> MetricFamily:
    if len(families) == 1:
        return families[0]
    samples = [sample for family in families for sample in family.samples]
    return with_samples(families[0], samples)


def _name(collector: object) -> str:
    return f"{type(collector).__module__}.{type(collector).__qualname__}"
