"""The contract of a store, kept by the one in memory."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_middleware.stores import Family, MemoryStore, Store

REQUESTS = Family("requests", ("method", "route"), 3)
OPEN = Family("open", (), 1, live=True)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def test_it_is_a_store(store: MemoryStore) -> None:
    taken: Store = store
    (worker,) = taken.snapshot().workers
    assert worker.live


def test_a_new_block_is_zeros(store: MemoryStore) -> None:
    offset = store.allocate(REQUESTS, ("GET", "/"))
    assert store.cells[offset : offset + 3] == [0.0, 0.0, 0.0]
    assert list(store.snapshot().read(REQUESTS)) == [(("GET", "/"), [0.0, 0.0, 0.0])]


def test_the_same_labels_have_the_same_block(store: MemoryStore) -> None:
    first = store.allocate(REQUESTS, ("GET", "/"))
    store.cells[first + 1] += 2.5
    assert store.allocate(REQUESTS, ("GET", "/")) == first
    assert list(store.snapshot().read(REQUESTS)) == [(("GET", "/"), [0.0, 2.5, 0.0])]


def test_families_are_apart(store: MemoryStore) -> None:
    one, other = store.allocate(REQUESTS, ("GET", "/")), store.allocate(OPEN, ())
    store.cells[other] += 1
    assert list(store.snapshot().read(REQUESTS)) == [(("GET", "/"), [0.0] * 3)]
    assert list(store.snapshot().read(OPEN)) == [((), [1.0])]
    assert not range(one, one + 3).count(other)


def test_a_family_without_blocks_is_empty(store: MemoryStore) -> None:
    assert list(store.snapshot().read(REQUESTS)) == []
    assert dict(store.offsets(REQUESTS)) == {}


def test_offsets_are_a_living_map(store: MemoryStore) -> None:
    offsets = store.offsets(REQUESTS)
    offset = store.allocate(REQUESTS, ("GET", "/"))
    assert offsets == {("GET", "/"): offset}
    assert store.offsets(REQUESTS) is offsets


def test_what_was_read_does_not_change(store: MemoryStore) -> None:
    offset = store.allocate(OPEN, ())
    ((_, block),) = store.snapshot().read(OPEN)
    store.cells[offset] += 1
    assert block == [0.0]


def test_blocks_may_be_made_while_others_are_read(store: MemoryStore) -> None:
    store.allocate(REQUESTS, ("GET", "/0"))
    seen = 0
    for index, _ in enumerate(store.snapshot().read(REQUESTS)):
        store.allocate(REQUESTS, ("GET", f"/{index + 1}"))
        seen += 1
    assert seen == 1


def test_two_stores_share_nothing() -> None:
    one, other = MemoryStore(), MemoryStore()
    one.allocate(REQUESTS, ("GET", "/"))
    assert not other.cells
    assert not list(other.snapshot().read(REQUESTS))


@given(
    st.lists(st.tuples(st.sampled_from([REQUESTS, OPEN]), st.text(max_size=2), st.integers(1, 9)))
)
def test_any_updates_are_read_back(updates: list[tuple[Family, str, int]]) -> None:
    store = MemoryStore()
    model: dict[tuple[Family, tuple[str, ...]], list[float]] = {}
    for family, text, amount in updates:
        labels = (text,) * len(family.label_names)
        block = model.setdefault((family, labels), [0.0] * family.width)
        cell = amount % family.width
        block[cell] += amount
        store.cells[store.allocate(family, labels) + cell] += amount
    found = {
        (f, labels): block for f in (REQUESTS, OPEN) for labels, block in store.snapshot().read(f)
    }
    assert found == model


def test_an_unused_cell_costs_no_more_than_its_place(store: MemoryStore) -> None:
    wide = Family("wide", ("n",), 1000)
    for number in range(10):
        store.allocate(wide, (str(number),))
    assert sys.getsizeof(store.cells) < 10 * 1000 * 8 * 1.25
    assert len(set(map(id, store.cells))) == 1


def test_a_tally_is_what_its_block_holds(store: MemoryStore) -> None:
    tally = store.tally(OPEN, ())
    tally.append(None)
    tally.append(None)
    tally.pop()
    assert store.tally(OPEN, ()) is tally
    assert list(store.snapshot().read(OPEN)) == [((), [1.0])]
    tally.pop()
    assert list(store.snapshot().read(OPEN)) == [((), [0.0])]
    with pytest.raises(IndexError):
        tally.pop()
