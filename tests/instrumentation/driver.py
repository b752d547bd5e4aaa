"""Requests recorded without any door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from prom_middleware.instrumentation import Instrumentation, Observation


class Plain:
    """A dialect for requests that are dictionaries."""

    def route(self, request: Any) -> str | None:
        return request.get("route")  # type: ignore[no-any-return]

    def path(self, observation: Any) -> str:
        return str(observation.request.get("path", "/"))

    def headers(self, request: Any) -> Mapping[str, str]:
        return request.get("headers", {})  # type: ignore[no-any-return]


def core(registry: CollectorRegistry | None = None, **options: Any) -> Instrumentation:
    """Return a core with `options` on a registry of its own."""
    return Instrumentation({"registry": registry or CollectorRegistry(), **options}, Plain())


def record(
    instrumentation: Instrumentation,
    route: str | None = "/r",
    status: str = "200",
    method: str = "GET",
    **request: Any,
) -> Observation:
    """Record one whole request."""
    observation = instrumentation.start({"route": route, **request}, method)
    observation.status = status
    observation.finish()
    return observation
