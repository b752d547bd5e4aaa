"""What one test has to itself: a registry, and a /proc."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from prom_middleware import runtime
from runtime.proc import boot


@pytest.fixture
def registry() -> Iterator[CollectorRegistry]:
    registry = CollectorRegistry()
    yield registry
    runtime.uninstall(registry)
    assert not any("Pauses" in repr(callback) for callback in gc.callbacks)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    return boot(tmp_path / "proc")
