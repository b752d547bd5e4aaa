"""Where a metric of `prometheus_client` keeps its number: in cells of the store.

The rules of `instrumentation/observation.py` hold here: `inc` is on the way of users' requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

from prom_middleware import failures, multiprocess
from prom_middleware.forks import in_child
from prom_middleware.multiprocess import notes
from prom_middleware.multiprocess.notes import Note
from prom_middleware.multiprocess.removals import Removals
from prom_middleware.multiprocess.shapes import SEPARATOR, SET, TIME
from prom_middleware.multiprocess.view import View
from prom_middleware.stores import Family, Labels

if TYPE_CHECKING:
    from prometheus_client.samples import Exemplar

    from prom_middleware.stores import Store


# Of gauges, while another process has the store's lock for too long.
MOST_KEPT = 10_000


class Home:
    """The store in which this process's metrics live, and which values it has there."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.turn = store.turn
        self.removals = Removals(store, adds)
        self._values: set[ref[SharedValue]] = set()
        # The process that has asked whether it is to bring what it has inherited, and the answer.
        self.heir: tuple[int, bool] = (0, False)
        self.marked = self.resuming = False
        # What was set while nobody could read after which removal that was.
        self.postponed: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque(maxlen=MOST_KEPT)
        store.renewals.append(self._renew)
        store.arrivals.append(self.mark)
        _homes.add(self)

    def add(self, value: SharedValue) -> None:
        """Know a value for as long as somebody uses it."""
        self._values.add(ref(value, self._values.discard))

    def values(self) -> list[SharedValue]:
        """Return all values."""
        # One step of the interpreter, since other threads make values.
        found = (each() for each in list(self._values))
        return [value for value in found if value is not None]

    def void(self) -> None:
        """Have every value look for its cell again."""
        for value in self.values():
            value.offset = None

    def _renew(self) -> None:
        self.void()
        self.removals.renew()

    def resume(self) -> None:
        """Set what was postponed, in its order, as far as that is possible; the turn is ours."""
        self.resuming = True
        try:
            for left in reversed(range(len(self.postponed))):
                write, arguments = self.postponed.popleft()
                write(*arguments)
                if len(self.postponed) > left:
                    self.postponed.rotate()
                    return
        finally:
            self.resuming = False

    def view(self) -> View:
        """Return what all workers have now."""
        if self.postponed:
            self.turn.update(self.resume)
        return View(self.store.snapshot())

    def close(self) -> None:
        """Leave the store alone from now on."""
        self.store.renewals.remove(self._renew)
        self.store.arrivals.remove(self.mark)
        self.removals.close()

    def mark(self) -> None:
        """Note, when this process has first written, that it has all its gauges, at zero until set.

        As in `prometheus_client`, where the file of a process has all of them. What infos say is
        said again: added to what an earlier worker said in the same cells, it was no text.
        """
        self.marked = True
        for value in self.values():
            if isinstance(value, GaugeValue):
                value.touch()
            elif isinstance(value, InfoValue):
                value.repeat()


def adds(write: Callable[..., object]) -> bool:
    """Tell whether a write that waits only adds: then it is the same before and after a removal."""
    if getattr(write, "__func__", None) is SharedValue._add:
        return True
    # What a gauge is set to says after which removal that was; those are announced one at a time.
    return not write.__module__.startswith(multiprocess.__name__)


_homes: WeakSet[Home] = WeakSet()


@in_child
def _in_child() -> None:
    for home in _homes:
        home.marked = home.resuming = False
        home.postponed.clear()


class SharedValue:
    """One number of a counter, a summary or a histogram."""

    __slots__ = (
        "__weakref__",
        "_exemplar",
        "_store",
        "_turn",
        "family",
        "gone",
        "home",
        "index",
        "labels",
        "offset",
        "series",
    )

    _multiprocess = True

    def __init__(self, home: Home, family: Family, labels: Labels, index: int, series: str) -> None:
        self.gone = False
        self._exemplar: Exemplar | None = None
        self.move(home, family, labels, index, series)
        home.add(self)

    def move(self, home: Home, family: Family, labels: Labels, index: int, series: str) -> None:
        """Have the number elsewhere from now on; nobody may have written to it."""
        self.home, self._store, self._turn = home, home.store, home.turn
        self.family, self.labels, self.index, self.series = family, labels, index, series
        self.offset: int | None = None

    def begin(self) -> None:
        """Have a place in the store, so that the series is shown before it is counted."""
        self._turn.update(self._begin)

    def inc(self, amount: float) -> None:
        """Add to the number."""
        turn = self._turn
        try:
            give = turn.tokens.pop()
        except IndexError:
            turn.update(self._add, amount)
            return
        try:
            self._store.cells[self.offset] += amount  # type: ignore[index]
        except Exception:
            self._add_late(float(amount))
        finally:
            give(give)
        if turn.pending:
            turn.drain()

    def set(self, value: float, timestamp: float | None = None) -> None:
        """Set what this worker's place in the store adds to the number."""
        self._turn.update(self._put, float(value), timestamp)

    def get(self) -> float:
        """Return what this worker's place in the store adds to the number."""
        return float(self._turn.read(self._own))

    def set_exemplar(self, exemplar: Exemplar) -> None:
        """Keep an example of what was counted here."""
        self._exemplar = exemplar
        words = (word for pair in exemplar.labels.items() for word in pair)
        text = SEPARATOR.join(word.replace(SEPARATOR, "") for word in words)
        self.say(text, float(exemplar.value), float(exemplar.timestamp or 0))

    def say(self, text: str, value: float, time: float) -> None:
        """Keep a text about the series, which is shown until there is a later one."""
        self._turn.update(self._note, text, value, time)

    def get_exemplar(self) -> Exemplar | None:
        """Return the last exemplar of this process."""
        return self._exemplar

    def leave(self) -> None:
        """Count for nothing any more: the label set was removed, this child with it."""
        self.gone, self.offset = True, None

    # What follows is called by whoever has the store's turn.

    def _begin(self) -> None:
        again = self._removal()
        offset = self._find()
        if again:
            self._store.cells[offset + self.family.width - 1] += 1

    def _removal(self) -> int:
        """Return how often the label set was removed."""
        if not self.labels:
            return 0
        self.home.removals.look()
        return self.home.removals.number(self.family, self.labels)

    def _find(self) -> int:
        offset = self._store.offsets(self.family).get(self.labels)
        if offset is None:
            offset = self._store.allocate(self.family, self.labels)
        self.offset = offset + self.index
        return offset

    def _bound(self) -> int | None:
        if self.gone:
            return None
        if self.offset is None:
            self._find()
        return self.offset

    def _add_late(self, amount: float) -> None:
        try:
            self._add(amount)
        except Exception as error:
            failures.report("record", error)

    def _add(self, amount: float) -> None:
        offset = self._bound()
        if offset is not None:
            self._store.cells[offset] += amount

    def _put(self, value: float, timestamp: float | None) -> None:
        if self._removal():
            value += self._subtracted()
        offset = self._bound()
        if offset is not None:
            self._store.cells[offset] = value

    def _subtracted(self) -> float:
        """Return how much of what is here was removed: to set it to less would be below zero."""
        left = self.home.removals.left(self.family, self.labels)
        own = self._own()
        return own - min(own, left[self.index] if left else 0.0)

    def _own(self) -> float:
        if self.gone:
            return 0.0
        if self.offset is None:
            self._find()
        return self._store.cells[self.offset]  # type: ignore[index]

    def _note(self, text: str, value: float, time: float) -> None:
        try:
            if self._bound() is not None:
                self._keep(Note(text, value, time, self._removal()))
        except ValueError as error:
            failures.report("multiprocess.text", error)

    def _keep(self, note: Note, *, again: bool = False) -> None:
        notes.write(self._store, self.family, (*self.labels, self.series), note, again=again)


class InfoValue(SharedValue):
    """What an info says: it is said once, mostly when the application is made."""

    __slots__ = ("_said",)

    _said: Note | None

    def move(self, home: Home, family: Family, labels: Labels, index: int, series: str) -> None:
        """Have the place elsewhere from now on; nobody may have said anything."""
        super().move(home, family, labels, index, series)
        self._said = None

    def repeat(self) -> None:
        """Say it again, unless it was removed since; the store's turn must be ours."""
        said = self._said
        if said is not None and self._bound() is not None and said.stamp == self._removal():
            super()._keep(said, again=True)

    def _keep(self, note: Note, *, again: bool = False) -> None:
        super()._keep(note, again=again)
        self._said = note
        if self.offset is not None:  # how often it was said, so that one without a text is known
            self._store.cells[self.offset] += 1


PROVISIONAL = "value"


@lru_cache(maxsize=256)
def provisional_family(name: str, label_names: Labels, mode: str) -> Family:
    """Return the family of a value whose metric is not known yet, and may be none of ours."""
    live = mode.startswith("live")
    return Family(name, label_names, 3, live, kind=PROVISIONAL, mode=mode)


def is_provisional(value: object, home: Home) -> bool:
    """Tell whether a value is where `home` has put it when its metric was not known."""
    if not isinstance(value, SharedValue):
        return False
    return value.home is home and value.family.kind == PROVISIONAL


class GaugeValue(SharedValue):
    """The number of a gauge, or of an enum's state: one for each worker."""

    __slots__ = ("made", "number", "seen")

    def move(self, home: Home, family: Family, labels: Labels, index: int, series: str) -> None:
        """Have the number elsewhere from now on; nobody may have written to it."""
        super().move(home, family, labels, index, series)
        # How often the label set was removed: before this was made, and now, by what this process
        # had seen of removals when it looked.
        self.made = self.number = self.seen = 0

    def inc(self, amount: float) -> None:
        """Add to the number."""
        self._turn.update(self._add, float(amount))

    def touch(self) -> None:
        """Note that this worker has the gauge; the store's turn must be ours."""
        offset = self._bound()
        # What was removed since it was made is not there again for that.
        if offset is not None and self.number == self.made and self.family.kind == "gauge":
            self._store.cells[offset + SET] = self._cleared(offset)

    def _begin(self) -> None:
        offset = self._bound()
        self.made = self.number
        if self.family.kind == "gauge":
            if self.home.marked:
                self.touch()
        elif self.number and offset is not None:  # an enum, in its first state again
            self._store.cells[offset + SET] = self._cleared(offset)

    def _bound(self) -> int | None:
        if self.gone:
            return None
        if self.home.postponed and not self.home.resuming:
            self.home.resume()
        if self.labels:
            self._look()
        if self.offset is None:
            self._find()
        return self.offset

    def _look(self) -> None:
        removals = self.home.removals
        removals.look()
        if self.seen != removals.seen or self.offset is None or removals.is_deaf:
            self.number = removals.number(self.family, self.labels)
            self.seen = -1 if removals.is_stale(self.family, self.labels) else removals.seen

    def _cleared(self, offset: int) -> float:
        """Forget what was set before the last removal; return what is in SET once it is set."""
        cells, current = self._store.cells, self.number + 1.0
        # Shown only when SET says so: until then, it is all the same who is killed here.
        if cells[offset + SET] != current:
            cells[offset] = cells[offset + TIME] = 0.0
        return current

    def _later(self, write: Callable[..., None], *arguments: Any) -> bool:
        """Tell whether it is unknown what was removed: what is set now would be void then."""
        if self.seen >= 0 and (self.home.resuming or not self.home.postponed):
            return False
        self.home.postponed.append((write, arguments))
        return True

    def _add(self, amount: float) -> None:
        offset = self._bound()
        if offset is not None and not self._later(self._add, amount):
            current = self._cleared(offset)
            self._store.cells[offset] += amount
            self._store.cells[offset + SET] = current

    def _put(self, value: float, timestamp: float | None) -> None:
        offset = self._bound()
        if offset is not None and not self._later(self._put, value, timestamp):
            current, cells = self._cleared(offset), self._store.cells
            cells[offset] = value
            cells[offset + TIME] = timestamp or 0.0
            cells[offset + SET] = current

    def _own(self) -> float:
        offset, cells = self._bound(), self._store.cells
        current = offset is not None and cells[offset + SET] == self.number + 1
        return cells[offset] if offset is not None and current else 0.0
