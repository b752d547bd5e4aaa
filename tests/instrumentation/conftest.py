"""Cores that write where other processes do."""

from __future__ import annotations

from pathlib import Path

import pytest

from prom_middleware.instrumentation import registration
from prom_middleware.stores.multiprocess import MultiprocessStore


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MultiprocessStore:
    """Have cores write to a store of several processes, and leave all else to this one."""
    store = MultiprocessStore(tmp_path)
    monkeypatch.setattr(registration, "shared_store", lambda: store)
    monkeypatch.setattr(registration, "_share", lambda *_: None)
    return store
