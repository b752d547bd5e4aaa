"""What several workers tell of their interpreters, in one scrape."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metrics import Series, series, value

PAUSES = "python_gc_duration_seconds"
LAG = "asyncio_event_loop_lag_seconds"

WORKERS = """\
import asyncio, gc, os, sys
from prometheus_client import REGISTRY, Counter, generate_latest
from prom_middleware import runtime
from prom_middleware.wsgi import PrometheusMiddleware

app = PrometheusMiddleware(lambda environ, start: (start("200 OK", []), [b""])[1])
runtime.install()


def ask():
    body = app({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None)
    list(body)
    body.close()


def work():
    if "idle" not in sys.argv:
        ask()
    for _ in range(5):
        gc.collect()


def shown(name):
    return REGISTRY.get_sample_value(name) or 0


async def tasks():
    runtime.watch_event_loop()
    others = [asyncio.create_task(asyncio.sleep(600)) for _ in range(2)]
    while shown("asyncio_tasks") < 3 or shown("asyncio_event_loop_lag_seconds_count") < 3:
        await asyncio.sleep(0.05)
    os.write(ready, b".")
    await asyncio.sleep(600)


reading, ready = os.pipe()
pids = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        work()
        if "loops" in sys.argv:
            asyncio.run(tasks())
        os._exit(0)
    pids.append(pid)
if "loops" in sys.argv:
    for _ in pids:
        os.read(reading, 1)
else:
    for pid in pids:
        os.waitpid(pid, 0)
gc.collect()  # of the master, which is no worker
sys.stdout.write(generate_latest(REGISTRY).decode())
for pid in pids if "loops" in sys.argv else ():
    os.kill(pid, 9)
"""


def workers(directory: Path, *arguments: str) -> Series:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)}
    done = subprocess.run(
        [sys.executable, "-c", WORKERS, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return series(done.stdout)


shared = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers share files where they fork")


@shared
def test_pauses_of_all_workers(tmp_path: Path) -> None:
    found = workers(tmp_path)
    full = {"generation": "2"}
    assert value(found, f"{PAUSES}_count", full) >= 15
    assert value(found, "python_gc_collections_total", full) == value(
        found, f"{PAUSES}_count", full
    )
    assert value(found, "python_gc_objects_collected_total") > 0
    assert value(found, "python_threads_current") == 0, "nobody can ask for those of the others"
    assert value(found, "prom_middleware_workers") == 3


@shared
def test_nobody_becomes_a_worker_by_its_garbage(tmp_path: Path) -> None:
    found = workers(tmp_path, "idle")
    assert value(found, "prom_middleware_workers") == 0
    assert value(found, f"{PAUSES}_count") == 0


@shared
def test_tasks_and_lag_of_all_workers(tmp_path: Path) -> None:
    found = workers(tmp_path, "loops")
    assert value(found, "asyncio_tasks") >= 6
    assert value(found, f"{LAG}_count") >= 3
