"""One scrape: from a request, whoever brought it, to a response, whoever sends it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from prom_middleware import failures
from prom_middleware.exposition.access import AccessRule, ScrapeRequest
from prom_middleware.exposition.negotiation import negotiate
from prom_middleware.instrumentation import registered
from prom_middleware.stores.shared import named_directory

METHODS = ("GET", "HEAD")
PLAIN = ("Content-Type", "text/plain; charset=utf-8")


class ScrapeResponse(NamedTuple):
    """What to send: a status code, headers, and a body that is empty for HEAD."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def answer(
    registry: Collector, translate: Callable[[], ScrapeRequest], access: AccessRule | None
) -> ScrapeResponse:
    """Answer the scrape that `translate` reads from a server's own request; never raises."""
    try:
        return scrape(registry, translate(), access)
    except Exception as error:
        failures.report("scrape", error)
        return ScrapeResponse(500, [PLAIN, ("Content-Length", "0")], b"")


def scrape(
    registry: Collector, request: ScrapeRequest, access: AccessRule | None = None
) -> ScrapeResponse:
    """Answer a scrape of `registry`; never raises."""
    started = perf_counter()
    try:
        response = _refusal(request, access) or _exposition(registry, request)
    except Exception as error:
        failures.report("scrape", error)
        response = _message(500, "The metrics cannot be shown; the application's log says why.")
    _count(registry, response.status, perf_counter() - started)
    if request.method == "HEAD":
        return response._replace(body=b"")
    return response


def _exposition(registry: Collector, request: ScrapeRequest) -> ScrapeResponse:
    # prometheus_client's own selection; https://prometheus.github.io/client_python/
    names = parse_qs(request.query).get("name[]")
    if names and isinstance(registry, CollectorRegistry):
        registry = registry.restricted_registry(names)
    form = negotiate(request.headers.get("accept", ""))
    body = b"".join(form.render(_whole(registry).collect()))
    return _response(200, ("Content-Type", form.content_type), body=body)


def _whole(registry: Collector) -> Collector:
    """Return `registry` with what other processes have written for `prometheus_client`."""
    if named_directory() is None:
        return registry
    from prom_middleware.multiprocess import whole

    return whole(registry)


def _refusal(request: ScrapeRequest, access: AccessRule | None) -> ScrapeResponse | None:
    if request.method not in METHODS:
        return _message(405, "Use GET or HEAD.", ("Allow", ", ".join(METHODS)))
    if access is None or _allowed(request, access):
        return None
    challenge = getattr(access, "challenge", None)
    # A header of a rule that is not ours: nothing that could end the line.
    if isinstance(challenge, str) and challenge.isascii() and challenge.isprintable():
        return _message(401, "Log in to see the metrics.", ("WWW-Authenticate", challenge))
    return _message(403, "You may not see the metrics.")


def _allowed(request: ScrapeRequest, access: AccessRule) -> bool:
    try:
        allowed = access(request)
        if inspect.isawaitable(allowed):  # true whatever it would say
            if inspect.iscoroutine(allowed):
                allowed.close()
            raise TypeError("access: the rule is asynchronous; give a function that returns a bool")
        return bool(allowed)
    except Exception as error:
        failures.report("access", error)
        return False


def _message(status: int, message: str, *headers: tuple[str, str]) -> ScrapeResponse:
    return _response(status, PLAIN, *headers, body=f"{message}\n".encode())


def _response(status: int, *headers: tuple[str, str], body: bytes) -> ScrapeResponse:
    return ScrapeResponse(status, [*headers, ("Content-Length", str(len(body)))], body)


def _count(registry: Collector, status: int, seconds: float) -> None:
    try:
        recorder = registered(registry)
        if recorder is not None:
            series = recorder.series
            recorder.add(series.scrapes, (str(status),))
            recorder.observe(series.scrape_durations, (), seconds)
    except Exception as error:
        failures.report("scrape", error)
