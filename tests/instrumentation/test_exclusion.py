"""Paths that are not recorded: exact, by pattern, by callable."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from instrumentation.driver import core
from metrics import collected, value
from prom_middleware import failures
from prom_middleware.asgi import PrometheusMiddleware
from prom_middleware.instrumentation.exclusion import excluder

CASES = [
    (["/health"], "/health", True),
    (["/health"], "/health/", False),
    (["/health"], "/healthy", False),
    (["/health"], "/api/health", False),
    ([re.compile("^/internal/")], "/internal/x", True),
    ([re.compile("internal")], "/a/internal/x", True),
    ([re.compile("^/internal/")], "/x/internal/", False),
    ([re.compile("(?i)^/Static")], "/static/x", True),
    ([lambda path: path.endswith(".ico")], "/favicon.ico", True),
    ([lambda path: path.endswith(".ico")], "/favicon", False),
    ([lambda path: "yes"], "/", True),
    ([lambda path: ""], "/", False),
    (["/a", re.compile("b"), lambda path: path == "/c"], "/a", True),
    (["/a", re.compile("b"), lambda path: path == "/c"], "/xbx", True),
    (["/a", re.compile("b"), lambda path: path == "/c"], "/c", True),
    (["/a", re.compile("b"), lambda path: path == "/c"], "/d", False),
    ([""], "", True),
]


@pytest.mark.parametrize(("exclusions", "path", "excluded"), CASES)
def test_paths_are_excluded(exclusions: list[Any], path: str, excluded: bool) -> None:
    assert bool(excluder(exclusions)(path)) is excluded


def test_nothing_excluded_costs_nothing() -> None:
    assert core().excluded is None


def failing(path: str) -> bool:
    raise RuntimeError(path)


@pytest.mark.parametrize(
    ("exclude", "path", "recorded"),
    [
        ("/health", "/health", 0),
        (re.compile("^/h"), "/health", 0),
        (lambda path: path == "/health", "/health", 0),
        ("/health", "/other", 1),
        ({"/health"}, "/health", 0),
    ],
)
def test_an_excluded_request_is_served_and_not_recorded(
    exclude: Any, path: str, recorded: int
) -> None:
    registry = CollectorRegistry()
    assert serve(PrometheusMiddleware(app, registry=registry, exclude=exclude), path) == 204
    samples = collected(registry)
    assert value(samples, "http_requests_total") == recorded
    assert value(samples, "http_requests_in_progress") == 0


def test_an_exclusion_that_fails_is_counted_and_the_request_recorded() -> None:
    registry = CollectorRegistry()
    before = failures.counts().get("exclude", 0)
    assert serve(PrometheusMiddleware(app, registry=registry, exclude=failing), "/x") == 204
    assert failures.counts()["exclude"] == before + 1
    samples = collected(registry)
    assert value(samples, "http_requests_total") == 1
    assert value(samples, "http_requests_in_progress") == 0


class Undecided:
    def __bool__(self) -> bool:
        raise ValueError("neither one nor the other")


class Timeout(BaseException):
    """As gevent's is."""


def timing_out(path: str) -> bool:
    raise Timeout


@pytest.mark.parametrize("broken", [failing, timing_out, lambda: True, lambda path: Undecided()])
def test_an_exclusion_that_fails_leaves_the_others_alone(broken: Any) -> None:
    test = excluder([broken, lambda path: path == "/c"])
    assert test is not None
    assert (test("/c"), test("/d")) == (True, False)


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_an_exclusion_does_not_keep_the_process_from_its_end(ending: type[BaseException]) -> None:
    def interrupted(path: str) -> bool:
        raise ending

    with pytest.raises(ending):
        excluder([interrupted])("/c")


async def yes(path: str) -> bool:
    return True


def test_an_exclusion_that_hands_on_a_coroutine_excludes_nothing() -> None:
    """It is true whatever it would say, and no function that could be refused when it is given."""
    before = failures.counts().get("exclude", 0)
    test = excluder([lambda path: yes(path)])
    assert test is not None
    assert not test("/c")
    assert failures.counts()["exclude"] == before + 1


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def serve(door: Any, path: str) -> int:
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "root_path": ""}
    asyncio.run(door(scope, None, send))
    return int(told[0]["status"])
