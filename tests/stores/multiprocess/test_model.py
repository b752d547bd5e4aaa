"""Any sequence of lives against a plain model.

The workers are stores in one process: a lock belongs to an open file description, so that they are
as much apart as processes are. Killed is who closes its descriptors, which the kernel would do.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from tempfile import mkdtemp

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from prom_middleware import failures
from prom_middleware.stores import Family, Settlement
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import LIVE, REQUESTS, add, read

SETTLED = Family("settled", (), 3, settlement=Settlement(0, (1, 2), 2))
WIDE = Family("wide", ("n",), 1500)
GAUGES = {
    mode: Family("gauge", (), 3, mode=mode) for mode in ("sum", "min", "max", "mostrecent", "all")
}
LABELS = st.sampled_from(["/", "/a", "/b"])
MODES = st.sampled_from(list(GAUGES))
PICK = st.integers(0, 99)

Value = tuple[float, float]  # and when it was set


@dataclass(eq=False)
class Slot:
    """What the model knows of one slot."""

    holder: MultiprocessStore | None = None
    generation: int = 0
    live: float = 0
    settled: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    own: dict[str, Value] = field(default_factory=dict)
    retired: dict[str, Value] = field(default_factory=dict)

    def take(self, holder: MultiprocessStore) -> None:
        self.holder = holder
        self.generation += 1
        self.live = 0
        self.settled[2] += self.open()
        for mode, value in self.own.items():
            if mode != "all":
                earlier = self.retired.get(mode)
                self.retired[mode] = together(mode, [earlier, value] if earlier else [value])
        self.own = {}

    def open(self) -> float:
        return self.settled[0] - self.settled[1] - self.settled[2]


def together(mode: str, values: list[Value]) -> Value:
    if mode in ("sum", "all"):
        return sum(value for value, _ in values), max(at for _, at in values)
    if mode == "mostrecent":
        return max(values, key=lambda value: value[1])
    return (min if mode == "min" else max)(values, key=lambda value: value[0])


class Workers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = mkdtemp()
        self.stores: list[MultiprocessStore] = []
        self.slots: list[Slot] = []
        self.requests: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.wide: Counter[str] = Counter()
        self.clock = 0.0
        self.failures = failures.counts()

    def teardown(self) -> None:
        assert failures.counts() == self.failures
        shutil.rmtree(self.directory)

    def writer(self, pick: int) -> tuple[MultiprocessStore, Slot]:
        """Return a store and the slot that it has, or takes now."""
        store = self.stores[pick % len(self.stores)]
        for slot in self.slots:
            if slot.holder is store:
                return store, slot
        slot = next((slot for slot in self.slots if slot.holder is None), None) or Slot()
        if slot not in self.slots:
            self.slots.append(slot)
        slot.take(store)
        return store, slot

    @precondition(lambda self: len(self.stores) < 5)
    @rule()
    def start(self) -> None:
        self.stores.append(MultiprocessStore(self.directory))

    @precondition(lambda self: self.stores)
    @rule(pick=PICK, label=LABELS, amount=st.integers(1, 9))
    def count(self, pick: int, label: str, amount: int) -> None:
        store, _ = self.writer(pick)
        add(store, REQUESTS, (label,), amount)
        self.requests[label] += amount

    @precondition(lambda self: self.stores)
    @rule(pick=PICK, number=st.integers(0, 20))
    def grow(self, pick: int, number: int) -> None:
        store, _ = self.writer(pick)
        add(store, WIDE, (str(number),), *([0] * 1499), 1)
        self.wide[str(number)] += 1

    @precondition(lambda self: self.stores)
    @rule(pick=PICK)
    def allocate_only(self, pick: int) -> None:
        self.stores[pick % len(self.stores)].allocate(REQUESTS, ("/unused",))

    @precondition(lambda self: self.stores)
    @rule(pick=PICK, amount=st.sampled_from([1, -1]))
    def go_up_and_down(self, pick: int, amount: int) -> None:
        store, slot = self.writer(pick)
        add(store, LIVE, (), amount)
        slot.live += amount

    @precondition(lambda self: self.stores)
    @rule(pick=PICK, finish=st.booleans())
    def begin(self, pick: int, finish: bool) -> None:
        store, slot = self.writer(pick)
        add(store, SETTLED, (), 1, int(finish))
        slot.settled[0] += 1
        slot.settled[1] += int(finish)

    @precondition(lambda self: self.stores)
    @rule(pick=PICK, mode=MODES, value=st.integers(-3, 3))
    def set_gauge(self, pick: int, mode: str, value: int) -> None:
        store, slot = self.writer(pick)
        self.clock += 1
        offset = store.allocate(GAUGES[mode], ())
        for index, cell in enumerate((value, self.clock, 1), offset):
            store.cells[index] = cell
        slot.own[mode] = value, self.clock

    @precondition(lambda self: self.stores)
    @rule(pick=PICK)
    def kill(self, pick: int) -> None:
        store = self.stores.pop(pick % len(self.stores))
        store.close()
        self.leave(store)

    @precondition(lambda self: self.stores)
    @rule(pick=PICK)
    def fork_and_die(self, pick: int) -> None:
        """Leave the store to a child: the parent is gone, the child has no slot yet."""
        store = self.stores[pick % len(self.stores)]
        store.forked()
        self.leave(store)

    def leave(self, store: MultiprocessStore) -> None:
        for slot in self.slots:
            if slot.holder is store:
                slot.holder = None

    @precondition(lambda self: self.stores)
    @rule(pick=PICK)
    def scrape(self, pick: int) -> None:
        self.check(self.stores[pick % len(self.stores)])

    @invariant()
    def anybody_sees_the_same(self) -> None:
        self.check(MultiprocessStore(self.directory))

    def check(self, reader: MultiprocessStore) -> None:
        taken = reader.snapshot()
        requests = Counter({labels[0]: int(b[0]) for labels, b in taken.read(REQUESTS)})
        assert +requests == self.requests
        assert requests >= self.seen
        self.seen = requests
        assert {labels[0]: block[1499] for labels, block in taken.read(WIDE)} == self.wide
        assert sum(block[0] for _, block in taken.read(LIVE)) == sum(
            slot.live for slot in self.slots if slot.holder
        )
        promised, kept, lost = next((block for _, block in taken.read(SETTLED)), (0, 0, 0))
        assert promised == sum(slot.settled[0] for slot in self.slots)
        assert kept == sum(slot.settled[1] for slot in self.slots)
        assert lost == sum(
            slot.settled[2] + (0 if slot.holder else slot.open()) for slot in self.slots
        )
        assert [(w.slot, w.live, w.generation) for w in taken.workers] == [
            (number, slot.holder is not None, slot.generation)
            for number, slot in enumerate(self.slots)
        ]
        for mode in GAUGES:
            self.check_gauge(reader, mode)

    def check_gauge(self, reader: MultiprocessStore, mode: str) -> None:
        own = {n: slot.own[mode] for n, slot in enumerate(self.slots) if mode in slot.own}
        retired = [slot.retired[mode] for slot in self.slots if mode in slot.retired]
        if not own and not retired:
            assert all(block[2] == 0 for block in read(reader, GAUGES[mode]).values())
            return
        ((_, block),) = reader.snapshot().read(GAUGES[mode])
        assert block[0] == together(mode, [*own.values(), *retired])[0]
        ((_, each),) = reader.snapshot().each(GAUGES[mode])
        assert {w.slot: (b[0], b[1]) for w, b in each if w} == own
        assert [b[0] for w, b in each if w is None] == (
            [together(mode, retired)[0]] if retired else []
        )


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
