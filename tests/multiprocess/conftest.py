"""A store in which this process's metrics live, for as long as a test runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from multiprocess.workers import leave_registry
from prom_middleware.multiprocess import install, uninstall
from prom_middleware.stores.multiprocess import MultiprocessStore


@pytest.fixture
def store(tmp_path: Path) -> MultiprocessStore:
    return MultiprocessStore(tmp_path / "metrics")


@pytest.fixture
def installed(store: MultiprocessStore) -> Iterator[MultiprocessStore]:
    with leave_registry():
        install(store)
        try:
            yield store
        finally:
            uninstall()
            store.close()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()
