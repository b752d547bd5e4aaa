"""A store with something in it, and the disks that it may meet."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from prom_middleware.stores.multiprocess import MultiprocessStore
from prom_middleware.stores.multiprocess import store as store_module
from stores.multiprocess.children import LIVE, REQUESTS, add


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once after a failure."""
    monkeypatch.setattr(store_module, "PAUSE", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> MultiprocessStore:
    store = MultiprocessStore(tmp_path / "metrics")
    add(store, REQUESTS, ("/",), 1)
    add(store, LIVE, (), 1)
    return store


@pytest.fixture
def directory(store: MultiprocessStore) -> Path:
    return Path(store.directory)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a tmpfs that has place for two vectors and little more."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root may mount a file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)
