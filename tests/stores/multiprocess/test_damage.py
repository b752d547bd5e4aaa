"""Files that somebody cut, overwrote or put there: not summed, left alone or replaced, named."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from prom_middleware.stores import Family
from prom_middleware.stores.multiprocess import MultiprocessStore, vector
from prom_middleware.stores.multiprocess.dictionary import Dictionary
from prom_middleware.stores.multiprocess.layout import GENERATION, STATE
from stores.multiprocess.children import REQUESTS, add, killed, read, reported, run, vectors

pytestmark = pytest.mark.usefixtures("impatient")

DICTIONARY = "prom_middleware-1.dictionary"
VECTOR = "prom_middleware-1.0000.vector"


def test_a_vector_that_is_cut_is_made_long_again(store: MultiprocessStore, directory: Path) -> None:
    def child() -> None:
        add(store, REQUESTS, ("/",), 1)
        for size in (4096, 100, 0):
            os.truncate(directory / vectors(directory)[-1], size)
            add(store, REQUESTS, (f"/{size}",), 1)
            add(store, REQUESTS, ("/",), 1)
            assert read(store, REQUESTS)["/",][0] >= 1

    assert run(child) == 0


def test_a_vector_of_noise_is_not_summed_and_is_replaced(
    store: MultiprocessStore, directory: Path
) -> None:
    before = reported()
    (directory / VECTOR).write_bytes(b"noise..." * 9000)
    assert read(MultiprocessStore(directory), REQUESTS) == {("/",): [0.0, 0.0, 0.0]}
    add(store, REQUESTS, ("/new",), 1)
    add(store, REQUESTS, ("/",), 1)
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0], ("/new",): [1.0, 0.0, 0.0]}
    assert reported() > before
    killed(lambda: add(store, REQUESTS, ("/",), 1))
    assert read(store, REQUESTS)["/",] == [2.0, 0.0, 0.0]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "once"), MemoryError(), SystemExit()])
def test_what_ends_the_opening_of_a_directory_takes_no_number_of_the_dead(
    store: MultiprocessStore,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    killed(lambda: add(store, REQUESTS, ("/",), 2))
    there, errors, header = vectors(directory), [error], Dictionary._header

    def fails_once(dictionary: Dictionary, fd: int) -> tuple[bytes, int]:
        if errors:
            raise errors.pop()
        return header(dictionary, fd)

    monkeypatch.setattr(Dictionary, "_header", fails_once)
    another = MultiprocessStore(directory)
    with suppress(SystemExit):
        add(another, REQUESTS, ("/",), 4)
    add(another, REQUESTS, ("/",), 8)
    assert not errors
    lost = 4 * isinstance(error, SystemExit)
    assert read(another, REQUESTS) == {("/",): [15.0 - lost, 0.0, 0.0]}
    assert vectors(directory) == there


def test_a_file_that_does_not_keep_what_is_written_is_the_only_one_that_is_made(
    store: MultiprocessStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, there = reported(), vectors(directory)
    monkeypatch.setattr(vector, "has_header", lambda *_: False)
    another = MultiprocessStore(directory)
    add(another, REQUESTS, ("/",), 1)
    assert len(vectors(directory)) == len(there) + 1
    assert reported() > before
    monkeypatch.undo()
    add(another, REQUESTS, ("/",), 1)
    assert read(another, REQUESTS) == {("/",): [3.0, 0.0, 0.0]}


def test_numbers_that_are_none_fail_no_snapshot(store: MultiprocessStore, directory: Path) -> None:
    add(store, REQUESTS, ("/",), float("inf"), float("nan"))
    killed(lambda: add(store, REQUESTS, ("/",), float("-inf"), 1, 1))
    assert read(store, REQUESTS)["/",][2] == 1.0


@pytest.mark.parametrize("cell", range(2, 8))
@pytest.mark.parametrize("noise", [float("nan"), float("-inf"), 1e300, -7.5])
def test_noise_in_a_header_fails_neither_a_snapshot_nor_a_worker(
    store: MultiprocessStore, directory: Path, cell: int, noise: float
) -> None:
    gauge = Family("gauge", (), 3, mode="sum")
    add(store, gauge, (), 1, 1, 1)
    store.cells[cell] = noise
    assert read(store, REQUESTS).keys() == {("/",)}
    list(store.snapshot().each(gauge))
    store.close()
    assert read(store, REQUESTS).keys() == {("/",)}
    before = reported()
    add(store, REQUESTS, ("/new",), 1)
    add(store, gauge, (), 1, 1, 1)
    assert read(store, REQUESTS).keys() == {("/",), ("/new",)}
    assert reported() == before


@pytest.mark.parametrize("cell", [GENERATION, STATE])
@pytest.mark.parametrize("noise", [float("nan"), float("inf"), 1e-300, 1e300, -7.5, 2.5])
def test_noise_in_a_header_is_counted_and_takes_no_number_away(
    store: MultiprocessStore, cell: int, noise: float
) -> None:
    before = reported()
    store.cells[cell] = noise
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
    assert reported() == before + 1
    store.close()
    add(store, REQUESTS, ("/",), 1)
    assert read(store, REQUESTS) == {("/",): [2.0, 0.0, 0.0]}
    assert reported() == before + 1


@pytest.mark.parametrize("size", [0, 10, 30])
def test_a_dictionary_that_is_cut_is_begun_anew(
    store: MultiprocessStore, directory: Path, size: int
) -> None:
    before = reported()
    os.truncate(directory / DICTIONARY, size)
    other = MultiprocessStore(directory)
    add(other, REQUESTS, ("/",), 5)
    assert (directory / f"{DICTIONARY}.damaged").stat().st_size == size
    assert reported() > before
    # The other one takes what it has with it.
    assert read(store, REQUESTS) == {("/",): [6.0, 0.0, 0.0]}
    assert read(other, REQUESTS) == {("/",): [6.0, 0.0, 0.0]}


@pytest.mark.parametrize("at", [3, 12, 30, 60])
def test_a_dictionary_of_noise_is_begun_anew(
    store: MultiprocessStore, directory: Path, at: int
) -> None:
    with (directory / DICTIONARY).open("r+b") as file:
        file.seek(at)
        file.write(b"noise")
    add(MultiprocessStore(directory), REQUESTS, ("/",), 5)
    add(store, REQUESTS, ("/new",), 1)
    expected = {("/",): [1.0, 0.0, 0.0], ("/new",): [1.0, 0.0, 0.0]}
    # The other store is gone, and with it what it had when the dictionary was its own.
    found = read(store, REQUESTS)
    assert found.keys() == expected.keys()
    assert found["/new",] == [1.0, 0.0, 0.0]
    assert found["/",][0] in (1.0, 6.0)
    assert read(MultiprocessStore(directory), REQUESTS) == found
    names = sorted(path.name for path in directory.iterdir())
    assert names.count(f"{DICTIONARY}.damaged") == 1
    assert len(names) <= 5


def test_a_record_that_can_be_read_but_was_changed_is_damage(
    store: MultiprocessStore, directory: Path
) -> None:
    path = directory / DICTIONARY
    path.write_bytes(path.read_bytes().replace(b'["/"]', b'["x"]'))
    assert read(MultiprocessStore(directory), REQUESTS) == {}
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}


def test_a_committed_end_that_nobody_wrote_is_damage(
    store: MultiprocessStore, directory: Path
) -> None:
    before = reported()
    with open(directory / DICTIONARY, "r+b") as file:
        file.seek(16)
        file.write(b"\xff" * 8)
    other = MultiprocessStore(directory)
    add(other, REQUESTS, ("/other",), 1)
    assert reported() > before
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0], ("/other",): [1.0, 0.0, 0.0]}
    assert read(other, REQUESTS) == read(store, REQUESTS)


def test_a_torn_tail_is_overwritten(store: MultiprocessStore, directory: Path) -> None:
    with (directory / DICTIONARY).open("ab") as file:
        file.write(b"torn" * 10)
    before = reported()
    other = MultiprocessStore(directory)
    add(other, REQUESTS, ("/new",), 1)
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0], ("/new",): [1.0, 0.0, 0.0]}
    assert read(MultiprocessStore(directory), REQUESTS) == read(store, REQUESTS)
    assert reported() == before


@pytest.mark.parametrize("name", ["prom_middleware-2.0000.vector", "prom_middleware-1.other"])
def test_another_versions_files_are_left_alone_and_named_once(
    store: MultiprocessStore, directory: Path, name: str
) -> None:
    (directory / name).write_bytes(b"another")
    (directory / "counter_1.db").write_bytes(b"prometheus_client's")
    before = reported("store.foreign")
    for _ in range(3):
        assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
    assert reported("store.foreign") == before + 1
    assert (directory / name).read_bytes() == b"another"


def test_a_vector_that_never_was_one_is_named_and_then_replaced(
    store: MultiprocessStore, directory: Path
) -> None:
    before = reported("store.foreign")
    (directory / "prom_middleware-1.0001.vector").write_bytes(b"noise" * 100)
    for _ in range(2):
        assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
    assert reported("store.foreign") == before + 1
    add(MultiprocessStore(directory), REQUESTS, ("/",), 1)
    assert read(store, REQUESTS) == {("/",): [2.0, 0.0, 0.0]}


@pytest.mark.parametrize("name", [DICTIONARY, VECTOR, "prom_middleware-1.lock"])
def test_a_symbolic_link_is_not_followed(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (directory / name).symlink_to(target)
    store = MultiprocessStore(directory)
    add(store, REQUESTS, ("/",), 1)
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
    assert target.read_bytes() == b"precious"
    assert reported() + reported("store.foreign") > 0


def test_a_fifo_in_the_place_of_a_vector_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / VECTOR)
    store = MultiprocessStore(tmp_path)
    add(store, REQUESTS, ("/",), 1)
    assert read(MultiprocessStore(tmp_path), REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}


def test_a_directory_in_the_place_of_a_vector_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / VECTOR).mkdir()
    store = MultiprocessStore(tmp_path)
    add(store, REQUESTS, ("/",), 1)
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
    assert vectors(tmp_path) == [VECTOR, "prom_middleware-1.0001.vector"]
