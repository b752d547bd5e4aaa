"""The private directories of servers that are gone, and of those that only cannot be seen."""

from __future__ import annotations

import os
import tempfile
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from prom_middleware import failures
from prom_middleware.stores.multiprocess.directory import STARTING, private_directory


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def elsewhere(own: Path, *, old: bool) -> Path:
    """Make the directory of a server in another container, with one file."""
    pid, started, space = own.name.split("-")
    other = own.parent / f"{pid}-{started}-{int(space) + 1}"
    other.mkdir(mode=0o700)
    (other / "0.cells").write_bytes(b"")
    if old:
        made = other.stat().st_mtime - 2 * STARTING
        os.utime(other, (made, made))
    return other


def own() -> Path:
    return Path(private_directory(os.getpid()))


def test_what_a_gone_container_left_is_removed() -> None:
    left = elsewhere(own(), old=True)
    own()
    assert not left.exists()


def test_a_container_that_starts_keeps_its_directory() -> None:
    begun = elsewhere(own(), old=False)
    own()
    assert begun.exists()


def test_a_container_with_a_living_worker_keeps_its_directory() -> None:
    other = elsewhere(own(), old=True)
    with (other / "0.cells").open("rb") as held:
        flock(held, LOCK_EX)
        own()
        assert other.exists()
    own()
    assert not other.exists()


def test_a_server_that_is_gone_leaves_nothing() -> None:
    mine = own()
    _, started, space = mine.name.split("-")
    gone = mine.parent / f"{os.getpid()}-{int(started) + 1}-{space}"
    gone.mkdir()
    before = failures.counts()
    assert own() == mine
    assert not gone.exists()
    assert failures.counts() == before
