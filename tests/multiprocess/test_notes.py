"""Exemplars and infos: text that any worker's scrape shows, never half of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Enum, Gauge, Histogram, Info
from prometheus_client.openmetrics.exposition import generate_latest

from multiprocess.workers import Process, samples, value
from prom_middleware import failures
from prom_middleware.multiprocess import notes
from prom_middleware.multiprocess.adoption import SHARED
from prom_middleware.multiprocess.notes import Note
from prom_middleware.multiprocess.shapes import notes_of
from prom_middleware.stores import Family, MemoryStore
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import end, fork, killed

JOBS = Family("jobs", (), 2, kind="counter")


def exemplars(registry: CollectorRegistry) -> dict[tuple[str, str], tuple[dict[str, str], float]]:
    return {
        (sample.name, sample.labels.get("le", "")): (sample.exemplar.labels, sample.exemplar.value)
        for family in registry.collect()
        for sample in family.samples
        if sample.exemplar
    }


def test_any_worker_shows_the_newest_exemplar(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", registry=registry)
    counter.inc(1, exemplar={"trace": "first"})
    killed(lambda: counter.inc(2, exemplar={"trace": "second", "span": "ü"}))
    assert exemplars(registry) == {("jobs_total", ""): ({"trace": "second", "span": "ü"}, 2)}
    counter.inc(3, exemplar={"trace": "third"})
    assert exemplars(registry) == {("jobs_total", ""): ({"trace": "third"}, 3)}


def test_each_bucket_has_its_exemplar(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    histogram = Histogram("t", "Times.", ["kind"], buckets=(1, 2), registry=registry)
    histogram.labels("a").observe(0.5, exemplar={"trace": "fast"})
    killed(lambda: histogram.labels("a").observe(7, exemplar={"trace": "slow"}))
    assert exemplars(registry) == {
        ("t_bucket", "1.0"): ({"trace": "fast"}, 0.5),
        ("t_bucket", "+Inf"): ({"trace": "slow"}, 7),
    }
    text = generate_latest(registry).decode()
    assert 't_bucket{kind="a",le="+Inf"} 2.0 # {trace="slow"} 7.0 ' in text


def test_an_exemplar_says_when_it_was(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", registry=registry)
    counter.inc(exemplar={"trace": "1"})
    own = counter._value.get_exemplar()
    (family,) = registry.collect()
    shown = family.samples[0].exemplar
    assert shown == own
    assert shown is not None
    assert shown.timestamp == pytest.approx(time.time(), abs=60)


def test_the_longest_exemplar_is_kept(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", registry=registry)
    longest = {"k" * 14: "\U0001f600" * 100, "l": "\U0001f600" * 13}
    counter.inc(exemplar=longest)
    assert exemplars(registry) == {("jobs_total", ""): (longest, 1)}
    with pytest.raises(ValueError, match="limit of 128"):
        counter.inc(exemplar={"k": "x" * 128})


def test_an_info_is_what_was_said_last(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    info = Info("build", "Build.", registry=registry)
    assert value(registry, "build_info") == 1
    info.info({"version": "1"})
    killed(lambda: info.info({"version": "2", "by": 'ü "\n\\' * 50}))
    assert samples(registry) == {("build_info", (("by", 'ü "\n\\' * 50), ("version", "2"))): 1}
    info.info({"version": "3"})
    assert samples(registry) == {("build_info", (("version", "3"),)): 1}


def test_a_worker_that_knows_no_better_leaves_what_an_earlier_one_has_said(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    info, jobs = Info("build", "Build.", registry=registry), Counter("jobs", "J.", registry=None)
    info.info({"version": "1"})
    killed(lambda: info.info({"version": "2"}))
    for _ in range(2):  # both have inherited the first one, and begin where the other one was
        killed(jobs.inc)
        assert samples(registry, "build") == {("build_info", (("version", "2"),)): 1}


def test_infos_with_labels_are_apart(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    info = Info("build", "Build.", ["part"], registry=registry)
    info.labels("a").info({"version": "1"})
    killed(lambda: info.labels("b").info({"version": "2"}))
    assert value(registry, "build_info", part="a", version="1") == 1
    assert value(registry, "build_info", part="b", version="2") == 1


def test_an_info_that_is_too_long_is_counted_and_the_last_one_stays(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    info = Info("build", "Build.", registry=registry)
    info.info({"version": "1"})
    reported = failures.counts().get("multiprocess.text", 0)
    info.info({"version": "x" * 100_000})
    assert failures.counts()["multiprocess.text"] == reported + 1
    assert samples(registry) == {("build_info", (("version", "1"),)): 1}


def carry_over(store: MultiprocessStore, write: Callable[[], None]) -> None:
    """Have something written while the store cannot be, and then carried over to it."""
    with MultiprocessStore(store.directory)._lock.held(0):
        write()
    store._retry_at = 0.0  # a pause would have ended
    store.snapshot()


def test_what_an_info_says_while_the_store_is_locked_is_shown_later(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    info = Info("build", "Build.", registry=registry)
    killed(lambda: info.info({"version": "1"}))  # into the slot that is ours next
    carry_over(installed, lambda: info.info({"version": "2"}))
    assert samples(registry) == {("build_info", (("version", "2"),)): 1}


def test_an_info_that_was_removed_is_not_said_again(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    info = Info("build", "Build.", ["part"], registry=registry)
    counter = Counter("jobs", "Jobs done.", registry=registry)
    info.labels("a").info({"version": "1"})
    killed(lambda: info.remove("a"))
    installed.close()
    carry_over(installed, counter.inc)
    assert samples(registry) == {("jobs_total", ()): 1}


def test_an_info_that_cannot_be_read_is_left_out(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    info = Info("build", "Build.", registry=registry)
    info.info({"version": "1"})
    (family,) = [each for each in installed._index.offsets if each.kind.startswith("note")]
    (offset,) = installed.offsets(family).values()
    for index in range(offset, offset + family.width):
        installed.cells[index] = 7.0
    assert samples(registry) == {}


def test_an_enum_is_in_the_state_that_was_set_last(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    Gauge("g", "Written before.", registry=registry).set(1)
    enum = Enum("state", "State.", states=["on", "off"], registry=registry)
    assert value(registry, "state", state="on") == 1
    killed(lambda: enum.state("off"))
    assert value(registry, "state", state="off") == 1
    assert value(registry, "state", state="on") == 0
    enum.state("on")
    assert value(registry, "state", state="on") == 1
    with pytest.raises(ValueError, match="not in list"):
        enum.state("away")


def test_a_reader_never_sees_half_a_note(installed: MultiprocessStore) -> None:
    info = Info("build", "Build.")

    def write() -> None:
        deadline = time.monotonic() + 20
        number = 0
        while time.monotonic() < deadline:
            number += 1
            info.info({"version": str(number), "same": f"{number} " * 150})

    info.info({"version": "0", "same": "0 " * 150})
    writer = fork(write)
    try:
        seen, reads, deadline = set(), 0, time.monotonic() + 20
        # On a busy machine, the writer may not have had its turn for the first ones.
        while reads < 300 or (len(seen) < 2 and time.monotonic() < deadline):
            (shown,) = samples(REGISTRY, "build")
            labels = dict(shown[1])
            assert labels["same"] == f"{labels['version']} " * 150
            seen.add(labels["version"])
            reads += 1
        assert len(seen) > 1
    finally:
        os.kill(writer, signal.SIGKILL)
        end(writer)


def test_a_note_that_was_cut_off_leaves_the_one_before() -> None:
    store = MemoryStore()
    for number in range(1, 4):
        notes.write(store, JOBS, ("total",), Note(f"text {number}", number, 100 + number, 0))
        cells = store.cells
        family = notes_of(JOBS, 48)
        assert list(notes.newest(store.snapshot(), [family])) == [("total",)]
        kept = [cells[index] for index in range(48)]
        later = Note("a longer text", 9, 200, 0)
        notes.write(store, JOBS, ("total",), later)
        whole = [cells[index] for index in range(48)]
        order = [index for index in range(48) if kept[index] != whole[index]]
        for stop in range(len(order)):
            for index, cell in enumerate(kept):
                cells[index] = whole[index] if index in order[:stop] else cell
            found = notes.newest(store.snapshot(), [family])["total",]
            assert found.text == f"text {number}"
        for index, cell in enumerate(kept):
            cells[index] = cell


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=600), st.floats(allow_nan=False), st.floats(0, 1e12))
def test_any_text_comes_back(text: str, value: float, when: float) -> None:
    store = MemoryStore()
    notes.write(store, JOBS, ("total",), Note(text, value, when, 0))
    families = list(store.snapshot().families())
    assert notes.newest(store.snapshot(), families) == {("total",): Note(text, value, when, 0)}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(), min_size=48, max_size=48))
def test_noise_is_no_note(noise: list[float]) -> None:
    store = MemoryStore()
    family = notes_of(JOBS, 48)
    offset = store.allocate(family, ("total",))
    for index, cell in enumerate(noise, offset):
        store.cells[index] = cell
    assert notes.newest(store.snapshot(), [family]) == {}


def test_sums_of_all_cells_stay_finite(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", registry=registry)
    worker = Process(lambda: counter)
    for amount in (1, 2):
        counter.inc(amount, exemplar={"trace": "\uffff" * 100})
        worker.call("inc", amount, {"trace": "\U0010ffff" * 100})
    assert value(registry, "jobs_total") == 6
    worker.kill()
    assert Path(installed.directory).is_dir()


def test_what_cannot_be_shown_of_another_worker_hides_nothing_else(
    installed: MultiprocessStore,
) -> None:
    def work() -> None:
        info = Info("build", "B.")
        vars(info)[SHARED].say("{", 0, 0)
        Counter("jobs", "Jobs done.").inc()

    before = failures.counts().get("multiprocess.collect", 0)
    killed(work)
    assert value(REGISTRY, "jobs_total") == 1
    assert failures.counts()["multiprocess.collect"] > before
