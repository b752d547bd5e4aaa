"""What one request says of itself, where doors have no part in it."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from instrumentation.driver import Plain, record
from metrics import collected, value
from prom_middleware import failures
from prom_middleware.instrumentation import Instrumentation, Observation


class Lost(Plain):
    """A dialect that cannot find the route."""

    def route(self, request: Any) -> str | None:
        raise LookupError(request)


@pytest.mark.parametrize("options", [{}, {"labels": {"tenant": lambda facts: "a"}}])
def test_a_route_that_cannot_be_found_is_one_failure(options: dict[str, Any]) -> None:
    registry = CollectorRegistry()
    core = Instrumentation({"registry": registry, **options}, Lost())
    before = failures.counts().get("route", 0)
    for _ in range(10):
        record(core)
    assert failures.counts()["route"] == before + 10
    labels = {"route": "<unmatched>", "status": "200"}
    assert value(collected(registry), "http_requests_total", labels) == 10


def test_an_exception_is_not_taken_for_another_one_that_is_gone() -> None:
    registry = CollectorRegistry()
    core = Instrumentation({"registry": registry}, Plain())
    observations = [record(core) for _ in range(100)]
    for kind in (ValueError, KeyError):
        for observation in observations:  # the next error has the address of the one before
            observation.raised(kind())
    samples = collected(registry)
    for name in ("ValueError", "KeyError"):
        assert value(samples, "http_request_exceptions_total", {"exception": name}) == 100


@pytest.mark.parametrize("name", ["finish", "returned", "discard"])
def test_one_that_never_began_is_a_failure_and_no_more(name: str) -> None:
    before = sum(failures.counts().values())
    getattr(Observation(), name)()
    assert sum(failures.counts().values()) == before + 1
