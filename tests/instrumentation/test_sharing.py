"""Failures are counted for all workers; one that cannot be counted ends there."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from instrumentation.driver import core, record
from metrics import collected, value
from prom_middleware import failures
from prom_middleware.errors import MetricConflictError
from prom_middleware.instrumentation import registration
from prom_middleware.instrumentation.sharing import FAILURES, share_failures
from prom_middleware.stores import MemoryStore

pytest.importorskip("fcntl")


@pytest.fixture(autouse=True)
def own_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_counts", {})
    monkeypatch.setattr(failures, "_forward", None)


def test_a_failure_that_the_store_cannot_count_is_no_failure_again() -> None:
    store = MemoryStore()
    calls = []

    def allocate(*_: object) -> int:
        calls.append(1)
        raise OSError("no space")

    store.allocate = allocate  # type: ignore[method-assign, assignment]
    share_failures(store)
    failures.report("first", ValueError())
    failures.report("second", ValueError())
    assert len(calls) == 2
    assert failures.counts() == {"first": 1, "second": 1}


def test_a_shared_store_shows_the_failures_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    failures.report("before", ValueError())
    registry = CollectorRegistry()
    record(core(registry))
    failures.report("after", ValueError())
    samples = collected(registry)
    for cause in ("before", "after"):
        assert value(samples, "prom_middleware_errors_total", {"cause": cause}) == 1


def test_what_is_only_promised_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    registry = CollectorRegistry()
    instrumentation = core(registry)
    observation = instrumentation.start({"route": "/r"}, "GET")
    observation.status = "200"
    observation.promise()
    assert not [key for key in collected(registry) if key[0] == "http_requests_total"]
    observation.status = "500"  # the server did not take the first start
    observation.finish()
    samples = collected(registry)
    statuses = [dict(have)["status"] for name, have in samples if name == "http_requests_total"]
    assert statuses == ["500"]


def test_a_response_that_was_promised_is_over_the_limit_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    registry = CollectorRegistry()
    instrumentation = core(registry, max_series=1)
    for route in ("/a", "/b"):
        observation = instrumentation.start({"route": route}, "GET")
        observation.status = "200"
        observation.promise()
        observation.finish()
    labels = {"metric": "http_requests_total"}
    assert value(collected(registry), "prom_middleware_series_overflow_total", labels) == 1


def test_registries_that_share_a_store_are_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the global one comes later than others."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(registration, "_named", 0)
    before, after = CollectorRegistry(), CollectorRegistry()
    monkeypatch.setattr(registration, "REGISTRY", everybodys := CollectorRegistry())
    registries = (before, everybodys, after)
    doors = [core(registry, max_series=1) for registry in registries]
    for number, door in enumerate(doors, 1):
        record(door)
        for _ in range(number):
            record(door, "/over")
            door.recorder.add(door.recorder.series.scrapes, ("200",))
    samples, over = [*map(collected, registries)], {"metric": "http_requests_total"}
    assert [value(one, "http_requests_total") for one in samples] == [2, 3, 4]
    assert [value(one, "prom_middleware_scrapes_total") for one in samples] == [1, 2, 3]
    name = "prom_middleware_series_overflow_total"
    assert [value(one, name, over) for one in samples] == [1, 2, 3]


def test_a_registry_that_was_refused_leaves_the_others_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where one worker has a conflict and the others none, they still count in the same series."""
    monkeypatch.setattr(registration, "_named", 0)
    refused, registry = CollectorRegistry(), CollectorRegistry()
    Counter("http_requests", "Theirs.", registry=refused)
    with pytest.raises(MetricConflictError):
        core(refused)
    assert core(registry).recorder.series.requests.family.scope == "registry 1"


def test_a_failure_waits_for_who_has_the_store() -> None:
    store = MemoryStore()
    share_failures(store)
    give = store.turn.tokens.pop()
    failures.report("meanwhile", ValueError())
    assert not store.offsets(FAILURES)
    give(give)
    store.turn.drain()
    assert list(store.offsets(FAILURES)) == [("meanwhile",)]
