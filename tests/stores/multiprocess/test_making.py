"""What root makes is for whoever could have made it there: nothing else is given away."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from prom_middleware.stores.multiprocess import MultiprocessStore, servers
from prom_middleware.stores.multiprocess.layout import DICTIONARY, LOCK
from prom_middleware.stores.multiprocess.making import make_directory, open_or_make
from stores.multiprocess.children import REQUESTS, add, read, reported, run

NOBODY = 65534

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give something away")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a server that says that its workers are another user."""
    monkeypatch.setattr(servers, "user", lambda: NOBODY)


def owner(path: Path) -> int:
    return path.lstat().st_uid


def owned(path: Path, mode: int, user: int) -> Path:
    path.mkdir()
    path.chmod(mode)
    os.chown(path, user, -1)
    return path


def made(directory: Path) -> int:
    """Make a file; return whose it is."""
    os.close(open_or_make(str(directory / "file")))
    return owner(directory / "file")


@root
def test_a_file_belongs_to_whom_its_directory_belongs(tmp_path: Path) -> None:
    assert made(owned(tmp_path / "theirs", 0o700, NOBODY)) == NOBODY
    assert made(owned(tmp_path / "ours", 0o1777, 0)) == 0


@root
@pytest.mark.usefixtures("told")
def test_the_workers_get_what_they_could_have_made(tmp_path: Path) -> None:
    assert made(owned(tmp_path / "everybody's", 0o1777, 0)) == NOBODY
    assert made(owned(tmp_path / "root's", 0o755, 0)) == 0
    assert made(tmp_path / "missing" / "theirs") == NOBODY
    assert owner(tmp_path / "missing" / "theirs") == NOBODY
    assert owner(tmp_path / "missing") == 0


@root
@pytest.mark.usefixtures("told")
def test_what_is_there_is_nobody_s_to_give(tmp_path: Path) -> None:
    theirs = owned(tmp_path / "theirs", 0o700, NOBODY)
    secret = tmp_path / "secret"
    secret.write_text("")
    (theirs / "hard").hardlink_to(secret)
    (theirs / "soft").symlink_to(secret)
    os.close(open_or_make(str(theirs / "hard")))
    with pytest.raises(OSError, match="symbolic"):
        open_or_make(str(theirs / "soft"))
    assert owner(secret) == 0
    (theirs / "link").symlink_to(tmp_path)
    make_directory(str(theirs / "link"), NOBODY)
    make_directory(str(tmp_path), NOBODY)
    assert owner(tmp_path) == 0


@pytest.fixture
def reachable() -> Iterator[Path]:
    """Make a directory to which everybody can find the way: pytest's own is root's alone."""
    with TemporaryDirectory(dir="/tmp") as path:
        yield Path(path)


def as_nobody(child: Callable[[], object]) -> int:
    def other() -> None:
        os.setuid(NOBODY)
        child()

    return run(other)


@root
@pytest.mark.parametrize("mode", [0o700, 0o711, 0o755], ids=oct)
def test_who_may_not_open_the_directory_shows_what_he_has(reachable: Path, mode: int) -> None:
    store = MultiprocessStore(reachable)
    add(store, REQUESTS, ("/",), 1)
    reachable.chmod(mode)

    def child() -> None:
        before = reported()
        add(store, REQUESTS, ("/",), 2)
        assert read(store, REQUESTS) == {("/",): [2.0, 0.0, 0.0]}
        assert reported() > before

    assert as_nobody(child) == 0
    assert read(store, REQUESTS) == {("/",): [1.0, 0.0, 0.0]}


@root
def test_where_the_files_are_shared_none_that_cannot_be_read_is_left_out(reachable: Path) -> None:
    store = MultiprocessStore(reachable)
    add(store, REQUESTS, ("/",), 1)
    reachable.chmod(0o777)
    for name in (DICTIONARY, LOCK):
        (reachable / name).chmod(0o666)

    def child() -> None:
        add(store, REQUESTS, ("/",), 2)
        with pytest.raises(PermissionError):
            store.snapshot()

    assert as_nobody(child) == 0
