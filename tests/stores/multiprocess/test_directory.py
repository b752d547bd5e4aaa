"""The private directories of servers that are gone, and of those that only cannot be seen."""

from __future__ import annotations

import os
import tempfile
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from prom_middleware import failures
from prom_middleware.stores.multiprocess import directory
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


def test_what_is_no_directory_of_a_server_is_left_alone() -> None:
    mine = own()
    left = gone(mine)
    others = [
        left.with_name(name) for name in ("notes", "1-2", f"{left.name}-old", f"x{left.name}")
    ]
    for other in others:
        other.mkdir()
    own()
    assert sorted(mine.parent.iterdir()) == sorted([mine, *others])


def test_a_server_of_another_user_that_nobody_shows_keeps_its_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where /proc is mounted with `hidepid`, a signal alone tells that there is a process."""
    mine = own()
    _, started, space = mine.name.split("-")
    theirs = mine.with_name(f"1-{started}-{space}")
    theirs.mkdir(mode=0o700)
    shown = directory.stat_fields

    def stat_fields(pid: int) -> list[bytes]:
        if pid == 1:
            raise FileNotFoundError
        return shown(pid)

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (1, 0)
        raise PermissionError

    monkeypatch.setattr(directory, "stat_fields", stat_fields)
    monkeypatch.setattr(os, "kill", kill)
    before = failures.counts()
    assert own() == mine
    assert theirs.exists()
    assert failures.counts() == before


def gone(mine: Path) -> Path:
    """Make the directory of a server that is gone."""
    pid, started, space = mine.name.split("-")
    left = mine.parent / f"{pid}-{int(started) + 1}-{space}"
    left.mkdir(mode=0o700)
    return left


@pytest.fixture
def replacing(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have this process be a gunicorn that is to replace its parent."""
    before = Path(private_directory(os.getppid()))
    monkeypatch.setenv("GUNICORN_PID", str(os.getppid()))
    return before


def test_a_server_goes_on_in_the_directory_of_the_one_that_it_replaces(
    replacing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert own() == replacing
    assert own() == replacing
    monkeypatch.delenv("GUNICORN_PID")  # that one has ended
    assert own() == replacing


def test_a_server_that_another_one_s_worker_starts_replaces_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = own()
    mine.rmdir()
    monkeypatch.setenv("GUNICORN_PID", "1" if os.getppid() != 1 else "2")
    assert own() == mine
    assert not mine.is_symlink()


def test_what_a_living_server_has_taken_over_is_kept() -> None:
    mine = own()
    left = gone(mine)
    mine.rmdir()
    mine.symlink_to(left.name)
    assert own() == left
    private_directory(os.getppid())
    assert left.exists()


def test_a_link_of_a_server_that_is_gone_goes_with_what_it_leads_to() -> None:
    mine = own()
    left = gone(mine)
    link = left.with_name(left.name.replace("-", "-1", 1))
    link.symlink_to(left.name)
    elsewhere = left.with_name(link.name + "1")
    elsewhere.symlink_to("0-0-0")
    before = failures.counts()
    own()
    assert os.listdir(mine.parent) == [mine.name]
    assert failures.counts() == before


def test_a_link_out_of_the_directory_is_not_read(base: Path) -> None:
    mine = own()
    mine.rmdir()
    (base / "elsewhere").mkdir(mode=0o700)
    for target in ("../elsewhere", str(base / "elsewhere")):
        mine.symlink_to(target)
        with pytest.raises(PermissionError):
            own()
        mine.unlink()
