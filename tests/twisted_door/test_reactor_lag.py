"""The reactor's lag: sampled while a site listens, and not a moment longer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.web.resource import Resource

from metrics import collected, value
from prom_middleware import failures, instrument, runtime
from twisted_door.reactor import in_reactor, serving
from waiting import eventually

LAG = "twisted_reactor_lag_seconds"


@pytest.fixture
def registry() -> Iterator[CollectorRegistry]:
    registry = CollectorRegistry()
    yield registry
    runtime.uninstall(registry)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prom_middleware.runtime.loops.INTERVAL", 0.01)


def sampled(registry: CollectorRegistry) -> float:
    return value(collected(registry), f"{LAG}_count")


def is_sampled(registry: CollectorRegistry, times: float) -> bool:
    return sampled(registry) >= times


def left() -> list[Any]:
    """Return the sampler's calls that the reactor still has."""
    return [call for call in in_reactor(reactor.getDelayedCalls) if "_tick" in str(call)]


def test_while_the_site_listens(registry: CollectorRegistry) -> None:
    runtime.install(registry)
    site = instrument(Resource(), registry=registry)
    for _ in range(2):  # a site may listen again
        enough = sampled(registry) + 3
        with serving(site):
            assert eventually(partial(is_sampled, registry, enough), bool)
        assert left() == []


def test_two_ports_and_two_registries(registry: CollectorRegistry) -> None:
    runtime.install(registry)
    site = instrument(Resource(), registry=registry)
    site = instrument(site, registry=CollectorRegistry())
    with serving(site):
        with serving(site):
            assert len(left()) == 1
        assert len(left()) == 1
    assert left() == []


def test_uninstall_ends_it(registry: CollectorRegistry) -> None:
    runtime.install(registry)
    with serving(instrument(Resource(), registry=registry)):
        assert len(left()) == 1
        runtime.uninstall(registry)
        assert eventually(left, lambda calls: not calls) == []


def test_without_install_nothing_is_sampled(registry: CollectorRegistry) -> None:
    with serving(instrument(Resource(), registry=registry)):
        assert left() == []
    assert sampled(registry) == 0


def test_a_failure_does_not_keep_the_site_from_listening(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(call_later: Any) -> Any:
        raise RuntimeError("broken")

    runtime.install(registry)
    monkeypatch.setattr("prom_middleware.runtime.installation.reactor_sampler", broken)
    before = failures.counts().get("event_loop", 0)
    with serving(instrument(Resource(), registry=registry)):
        pass
    assert failures.counts()["event_loop"] == before + 1
