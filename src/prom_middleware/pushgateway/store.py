"""Groups and their metrics: changed whole or not at all, in memory and on disk.

Everything is under one lock, which no request holds while it is read or parsed.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from prom_middleware import failures
from prom_middleware.pushgateway.consistency import (
    PUSH_FAILURE_TIME,
    PUSH_TIME,
    STAMPS,
    InconsistentError,
    OwnFamily,
    Surroundings,
    check,
)
from prom_middleware.pushgateway.durable import GroupRecord, NoJournal, StorageError
from prom_middleware.pushgateway.families import GAUGE, Family, Labels, Metric, label_names
from prom_middleware.pushgateway.index import Exposed, NameIndex, Part
from prom_middleware.pushgateway.rendering import Form

HELP = {
    PUSH_TIME: "Last Unix time when changing this group in the Pushgateway succeeded.",
    PUSH_FAILURE_TIME: "Last Unix time when changing this group in the Pushgateway failed.",
}
# Characters of a failure that are kept for the page.
_LONGEST_FAILURE = 500


class Push(NamedTuple):
    """Families for a group; `replace` takes away what the group has besides."""

    key: Labels
    families: list[Family]
    replace: bool
    ttl_ns: int | None = None


@dataclass
class Group:
    """The families of one grouping key; `failure` says why the last push failed, if it did."""

    key: Labels
    parts: dict[str, Part] = field(default_factory=dict)
    ttl_ns: int | None = None
    failure: str | None = None

    def stamp(self, name: str) -> float:
        """Return the time, in seconds, of the last success or failure; 0 for none."""
        part = self.parts.get(name)
        value = part.family.metrics[0].value if part else 0.0
        return value if isinstance(value, float) else 0.0  # a push can bring it, of any type

    @property
    def succeeded(self) -> bool:
        """Tell whether the last push did."""
        return self.stamp(PUSH_FAILURE_TIME) <= self.stamp(PUSH_TIME)

    @property
    def expires_ns(self) -> float:
        """Return when it is to go; infinite for never."""
        last = max((part.pushed_ns for part in self.parts.values()), default=0)
        return float("inf") if self.ttl_ns is None else last + self.ttl_ns


class _Change(NamedTuple):
    """What was done to a group, so that it can be undone."""

    key: Labels
    old: Mapping[str, Part]
    new: Mapping[str, Part]


class Store:
    """All groups. `own` are the families that the gateway itself has in the same exposition."""

    def __init__(
        self,
        journal: NoJournal | None = None,
        *,
        own: Mapping[str, OwnFamily] | None = None,
        checked: bool = True,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._journal = journal or NoJournal()
        self._own = own or {}
        self._checked = checked
        self._clock = clock
        self._lock = threading.RLock()
        self._groups: dict[Labels, Group] = {}
        self._names: dict[str, NameIndex] = {}
        self._expiries: list[tuple[float, Labels]] = []
        self._left_behind: set[Labels] = set()  # stored groups that have expired
        for record in self._journal.load():
            self._restore(record)

    def _restore(self, record: GroupRecord) -> None:
        parts = {family.name: Part(family, since) for since, family in record.families}
        self._swap(record.labels, {}, parts)
        group = self._groups[record.labels]
        group.ttl_ns, group.failure = record.ttl_ns, record.failure
        self._schedule(group)

    def push(self, pushes: list[Push]) -> None:
        """Apply all pushes, or none.

        Raises InconsistentError, which the groups then show as a failure, or StorageError.
        """
        # Of a large push, this takes as long as the rest; nobody else has to wait for it.
        pushes = [
            push._replace(families=[labelled(one, push.key) for one in push.families])
            for push in pushes
        ]
        with self._lock:
            now = self._clock()
            self._expire(now)
            changes: list[_Change] = []
            try:
                for push in pushes:
                    changes.append(self._apply(push, now))  # noqa: PERF401 - known if one fails
                self._write(map(self._record, pushes, changes))
            except Exception as error:
                self._undo(changes)
                if isinstance(error, InconsistentError):
                    self._note_failure(pushes, now, str(error))
                raise
            for push in pushes:
                group = self._groups[push.key]
                group.ttl_ns, group.failure = push.ttl_ns, None
                self._schedule(group)

    def _apply(self, push: Push, now: int) -> _Change:
        if any(metric.has_timestamp for one in push.families for metric in one.metrics):
            raise InconsistentError("pushed metrics must not have timestamps")
        group = self._groups.get(push.key) or Group(push.key)
        pushed = {family.name: family for family in push.families}
        pushed[PUSH_TIME] = _stamp(PUSH_TIME, push.key, now)
        if PUSH_FAILURE_TIME not in group.parts:
            pushed[PUSH_FAILURE_TIME] = _stamp(PUSH_FAILURE_TIME, push.key, 0)

        def stays(name: str) -> bool:
            return name in group.parts and (not push.replace or name in STAMPS)

        check(pushed, Surroundings(push.key, self._names, self._own, stays, self._checked))
        old = {name: one for name, one in group.parts.items() if name in pushed or not stays(name)}
        new = {name: Part(family, now) for name, family in pushed.items()}
        self._swap(push.key, old, new)
        return _Change(push.key, old, new)

    def _swap(self, key: Labels, old: Mapping[str, Part], new: Mapping[str, Part]) -> None:
        """Put the parts `new` in the place of `old` in a group; it is made, or goes."""
        group = self._groups.setdefault(key, Group(key))
        for name in old:
            index = self._names[name]
            index.remove(key)
            del group.parts[name]
            if not index.parts and name not in new:
                del self._names[name]
        for name, part in new.items():
            index = self._names.setdefault(name, NameIndex(name))
            index.add(key, part)
            group.parts[name] = part
        if not group.parts:
            del self._groups[key]

    def _undo(self, changes: list[_Change]) -> None:
        for key, old, new in reversed(changes):
            again = {name: Part(part.family, part.pushed_ns) for name, part in old.items()}
            self._swap(key, new, again)

    def _record(self, push: Push, change: _Change) -> GroupRecord:
        families = [(part.pushed_ns, part.family) for part in change.new.values()]
        removed = change.old.keys() - change.new.keys()
        return GroupRecord(push.key, push.ttl_ns, None, families, removed)

    def _note_failure(self, pushes: Iterable[Push], now: int, failure: str) -> None:
        """Let the groups show when and why a push failed, where that spoils nothing."""
        shown = failure[:_LONGEST_FAILURE].encode(errors="backslashreplace").decode()
        for push in pushes:
            group = self._groups.get(push.key) or Group(push.key, ttl_ns=push.ttl_ns)
            stamps = {PUSH_FAILURE_TIME: _stamp(PUSH_FAILURE_TIME, push.key, now)}
            if PUSH_TIME not in group.parts:
                stamps[PUSH_TIME] = _stamp(PUSH_TIME, push.key, 0)
            try:
                self._put_stamps(group, stamps, now, shown)
            except InconsistentError:
                continue
            except StorageError as error:
                failures.report("pushgateway.storage", error)

    def _put_stamps(
        self, group: Group, stamps: Mapping[str, Family], now: int, failure: str
    ) -> None:
        # Never unchecked: the original answers every scrape with 500 after it.
        around = Surroundings(group.key, self._names, self._own, group.parts.__contains__)
        check(stamps, around)
        families = [(now, family) for family in stamps.values()]
        self._write([GroupRecord(group.key, group.ttl_ns, failure, families)])
        old = {name: group.parts[name] for name in stamps if name in group.parts}
        self._swap(group.key, old, {name: Part(one, now) for name, one in stamps.items()})
        kept = self._groups[group.key]
        kept.failure, kept.ttl_ns = failure, group.ttl_ns
        self._schedule(kept)

    def delete(self, chosen: Callable[[Labels], bool]) -> int:
        """Take groups away by their keys and return how many; raise StorageError."""
        with self._lock:
            keys = [key for key in self._groups if chosen(key)]
            self._drop(keys)
            return len(keys)

    def delete_group(self, key: Labels) -> None:
        """Take one group away, if it is there; raise StorageError."""
        with self._lock:
            if key in self._groups:
                self._drop([key])

    def _drop(self, keys: list[Labels]) -> None:
        self._write(map(_gone, keys))
        for key in keys:
            self._swap(key, dict(self._groups[key].parts), {})

    def wipe(self) -> None:
        """Take all groups away; raise StorageError."""
        with self._lock:
            self._journal.wipe()
            self._groups, self._names, self._expiries = {}, {}, []
            self._left_behind.clear()

    def groups(self) -> list[Group]:
        """Return all groups as they are now."""
        with self._lock:
            self._expire(self._clock())
            return [
                Group(one.key, dict(one.parts), one.ttl_ns, one.failure)
                for one in self._groups.values()
            ]

    def exposed(self, form: Form) -> dict[str, Exposed]:
        """Return each name's family in the form that a scraper wants."""
        with self._lock:
            self._expire(self._clock())
            return {name: index.exposed(form) for name, index in self._names.items()}

    def close(self) -> None:
        """Let go of the disk."""
        with self._lock:
            self._journal.close()

    def _schedule(self, group: Group) -> None:
        if group.ttl_ns is not None:
            heapq.heappush(self._expiries, (group.expires_ns, group.key))

    def _expire(self, now: int) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            _, key = heapq.heappop(self._expiries)
            group = self._groups.get(key)
            if group is not None and group.expires_ns <= now:
                self._left_behind.add(key)
                try:
                    self._write(())
                except StorageError as error:  # it goes from memory all the same
                    failures.report("pushgateway.storage", error)
                self._swap(key, dict(group.parts), {})

    def _write(self, records: Iterable[GroupRecord]) -> None:
        # First what the disk did not take away in its time: its group may have been pushed anew.
        self._journal.write([*map(_gone, self._left_behind), *records])
        self._left_behind.clear()


def _gone(key: Labels) -> GroupRecord:
    return GroupRecord(key, None, None, [], is_gone=True)


def labelled(family: Family, key: Labels) -> Family:
    """Return a family whose metrics have the grouping key's labels, and an instance."""
    metrics = []
    for labels, value, message, has_timestamp in family.metrics:
        added, arranged = _arrangement(label_names(labels), key)
        metrics.append(Metric(arranged(labels + added), value, message, has_timestamp))
    return family._replace(metrics=metrics)


@lru_cache(maxsize=1000)
def _arrangement(names: tuple[str, ...], key: Labels) -> tuple[Labels, Callable[[Labels], Labels]]:
    """Return what is added to labels of these names, and what puts all of them in order."""
    of_group = dict(key)
    added = key if "instance" in {*of_group, *names} else (*key, ("instance", ""))
    everything = [*names, *(name for name, _ in added)]
    # The key's labels win.
    kept = [
        place
        for place, name in enumerate(everything)
        if place >= len(names) or name not in of_group
    ]
    order = sorted(kept, key=everything.__getitem__)
    if len(order) == 1:  # of one, itemgetter makes no tuple
        return added, lambda labels: (labels[order[0]],)
    return added, itemgetter(*order)


def _stamp(name: str, key: Labels, now: int) -> Family:
    return labelled(Family(name, GAUGE, HELP[name], [Metric((), now / 1e9)]), key)
