"""Gateways and registries for the tests of pushing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from prom_middleware.cli import COMMANDS
from prom_middleware.push import sending
from push.gateways import real
from servers.support import Server

KINDS = ["debian", *(["ours"] if "pushgateway" in COMMANDS else [])]


@pytest.fixture(params=KINDS, scope="module")
def gateway(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Return a real gateway: Debian's, then ours."""
    with real(request.param) as server:
        yield server


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("rows", "Rows.", ["kind"], registry=registry).labels('ü"\n\\').inc(3)
    return registry


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have further attempts come soon."""
    monkeypatch.setattr(sending, "FIRST_PAUSE", 0.02)


class Broken:
    """A collector that raises."""

    def collect(self) -> Any:
        raise RuntimeError("not today")


@pytest.fixture
def broken() -> Any:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Broken())  # type: ignore[arg-type]
    return registry
