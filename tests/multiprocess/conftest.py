"""A store in which this process's metrics live, for as long as a test runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakSet

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from multiprocess.workers import leave_registry
from prom_middleware.multiprocess import install, showing, uninstall
from prom_middleware.stores.multiprocess import MultiprocessStore


@pytest.fixture(scope="module", autouse=True)
def _nothing_left() -> Iterator[None]:
    """Hide what other files of tests have left: `install` moves all metrics that it can find."""
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(showing, "_shown", WeakSet((REGISTRY,)))
        yield


@pytest.fixture
def store(tmp_path: Path) -> MultiprocessStore:
    return MultiprocessStore(tmp_path / "metrics")


@pytest.fixture
def installed(store: MultiprocessStore) -> Iterator[MultiprocessStore]:
    gc.collect()  # the metrics of the test before
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
