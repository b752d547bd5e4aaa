"""What a system removes because nobody has touched it for days is not what workers use."""

from __future__ import annotations

import os
from pathlib import Path
from time import time

import pytest

from prom_middleware import failures
from prom_middleware.multiprocess.announcing import REMOVALS
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import REQUESTS, read

DAYS = 11 * 86400.0


def _age(directory: Path, seconds: float) -> list[Path]:
    paths = [*directory.iterdir(), directory]
    for path in paths:
        os.utime(path, (time() - seconds,) * 2)
    return paths


def test_a_scrape_keeps_all_files_young(store: MultiprocessStore, directory: Path) -> None:
    for name in (REMOVALS, "prom_middleware-1.0009.vector", "counter_7.db"):
        (directory / name).write_bytes(b"")
    paths = _age(directory, DAYS)
    store.snapshot()
    for path in paths:
        found = path.stat()
        age = time() - min(found.st_atime, found.st_mtime)
        assert (age > DAYS - 60) if path.suffix == ".db" else (age < 60), path


def test_files_are_touched_once_an_hour(store: MultiprocessStore, directory: Path) -> None:
    (dictionary,) = directory.glob("*.dictionary")
    _age(directory, 3000)
    store.snapshot()
    assert time() - dictionary.stat().st_mtime > 2000
    _age(directory, -3000)  # the clock was set back
    store.snapshot()
    assert dictionary.stat().st_mtime < time() + 60


def test_what_cannot_be_touched_does_not_matter(
    store: MultiprocessStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not yours")

    _age(directory, DAYS)
    before = failures.counts()
    monkeypatch.setattr(os, "utime", refuse)
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}
    assert failures.counts() == before
