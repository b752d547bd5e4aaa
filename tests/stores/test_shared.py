"""Which store a process gets: by what was named, by its server, or by who has started it."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from weakref import ref

import pytest

from prom_middleware.stores import shared
from prom_middleware.stores.multiprocess import directory, servers


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a process that a worker has started, and that knows nothing yet."""
    monkeypatch.delenv(shared.DIRECTORY, raising=False)
    monkeypatch.delenv(shared.SWITCH, raising=False)
    monkeypatch.setattr(shared, "_found", None)
    monkeypatch.setattr(shared, "_stores", {})
    monkeypatch.setitem(sys.modules, "gunicorn", ModuleType("gunicorn"))


def serve(monkeypatch: pytest.MonkeyPatch, server: int | None, found: Path) -> None:
    monkeypatch.setattr(servers, "server_process", lambda: server)
    monkeypatch.setattr(directory, "private_directory", lambda _: str(found))


def given() -> Path | None:
    store = shared.shared_store()
    return None if store is None else Path(store.directory)


def test_what_a_worker_starts_has_the_worker_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve(monkeypatch, None, tmp_path / "unused")
    assert given() is None
    monkeypatch.setenv(shared.FOUND, str(tmp_path / "outer"))
    assert given() == tmp_path / "outer"
    monkeypatch.setenv(shared.FOUND, "")
    assert given() is None


def test_a_server_that_a_worker_starts_has_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(shared.FOUND, str(tmp_path / "outer"))
    serve(monkeypatch, 1, tmp_path / "inner")
    assert given() == tmp_path / "inner"
    # A process that is forked from it may take another one for its server.
    serve(monkeypatch, 2, tmp_path / "another")
    assert given() == tmp_path / "inner"
    monkeypatch.setenv(shared.DIRECTORY, str(tmp_path / "named"))
    assert given() == tmp_path / "named"


def test_who_has_imported_what_starts_a_gunicorn_will_be_its_arbiter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in servers.STARTERS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert servers.server_process() is None
    monkeypatch.setitem(sys.modules, "gunicorn.app.base", ModuleType("gunicorn.app.base"))
    assert servers.server_process() == os.getpid()
    # What it has `multiprocessing` start imports the same program, and is no arbiter.
    monkeypatch.setitem(sys.modules, shared.SPAWNED, ModuleType(shared.SPAWNED))
    assert servers.server_process() is None


class Application:
    """What lives in the frames that are looked through."""


def searched(app: Application) -> ref[Application]:
    servers.server_process()
    return ref(app)


def test_the_search_for_the_server_keeps_nothing_of_what_it_looked_through() -> None:
    assert multiprocessing.parent_process() is None  # it looks for what it was told, then
    gc.disable()
    try:
        gone = searched(Application())
        assert gone() is None
    finally:
        gc.enable()


# Each collection of garbage finds a `threading.local`; the one within the search comes at some `n`.
COLLECTING = """
import gc
import multiprocessing
from threading import local

from prom_middleware.stores.multiprocess.servers import server_process


class Cycle:
    def __init__(self):
        self.me, self.local = self, local()
        self.local.value = 1


for n in range(1, 200):
    gc.disable()
    gc.collect()
    Cycle()
    gc.set_threshold(n)
    gc.enable()
    server_process()
    assert gc.isenabled()
gc.disable()
server_process()
assert not gc.isenabled()
"""


def test_the_search_for_the_server_waits_for_no_lock_of_the_interpreter() -> None:
    subprocess.run([sys.executable, "-c", COLLECTING], check=True, timeout=60)
