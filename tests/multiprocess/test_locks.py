"""The lock of a metric with labels: whoever is forked, or comes in between, makes children too."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from multiprocess.workers import value
from prom_middleware.exposition import make_wsgi_app
from prom_middleware.instrumentation import registration
from prom_middleware.multiprocess import install, patches
from prom_middleware.stores import shared
from prom_middleware.stores.multiprocess import MultiprocessStore
from prom_middleware.wsgi import PrometheusMiddleware
from stores.multiprocess.children import run

# Seconds after which a child that hangs is ended; no other one is awake for so long.
HANGS = 60


@contextmanager
def _held_by_another_thread(lock: Any) -> Iterator[None]:
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _run(child: Callable[[], object]) -> int:
    def impatient() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(HANGS)
        child()

    return run(impatient)


def test_a_child_that_is_forked_while_another_thread_makes_a_label_set(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    metric = Counter("orders", "Orders.", ["shop"], registry=registry)

    with _held_by_another_thread(metric._lock):
        assert _run(lambda: metric.labels("a").inc()) == 0

    assert value(registry, "orders_total", shop="a") == 1


def test_a_child_where_the_metric_was_made_before(
    registry: CollectorRegistry, request: pytest.FixtureRequest
) -> None:
    metric = Counter("orders", "Orders.", ["shop"], registry=registry)
    request.getfixturevalue("installed")

    with _held_by_another_thread(metric._lock):
        assert _run(lambda: metric.labels("a").inc()) == 0

    assert value(registry, "orders_total", shop="a") == 1


def test_a_child_that_is_forked_while_another_thread_registers_what_is_slow_to_describe_itself(
    registry: CollectorRegistry,
) -> None:
    metrics = make_wsgi_app(registry)
    environ = {"REQUEST_METHOD": "GET"}

    with _held_by_another_thread(registry._lock):
        assert _run(lambda: metrics(environ, lambda *_: None)) == 0


@pytest.mark.parametrize("module", [shared, patches, registration])
def test_a_child_that_is_forked_while_another_thread_installs_or_makes_a_door(
    module: Any,
    installed: MultiprocessStore,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv(shared.DIRECTORY, str(tmp_path))

    def child() -> None:
        install()
        PrometheusMiddleware(lambda _, __: [], registry=registry)

    with _held_by_another_thread(module._lock):
        assert _run(child) == 0


def test_a_signal_handler_that_comes_while_a_label_set_is_made(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    metric = Counter("orders", "Orders.", ["shop"], registry=registry)

    def child() -> None:
        signal.signal(signal.SIGUSR1, lambda *_: metric.labels("a").inc())
        with metric._lock:  # as `labels` has it when the signal comes
            signal.raise_signal(signal.SIGUSR1)
            metric.labels("a").inc()

    assert _run(child) == 0
    assert value(registry, "orders_total", shop="a") == 2
