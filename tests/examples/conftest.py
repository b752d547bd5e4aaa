"""Run the programs in examples/ as their users do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from metrics import Series, series
from ports import free_port

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE = 60.0  # seconds; generous, since nothing here measures speed
NOT_INHERITED = ("DJANGO_SETTINGS_MODULE", "PROMETHEUS_MULTIPROC_DIR", "DEMO_SECONDS", "PORT")

T = TypeVar("T")


def clean_environment(**more: str) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if key not in NOT_INHERITED}
    return {**inherited, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", **more}


def ask_until(ask: Callable[[], T], accept: Callable[[T], object]) -> T:
    """Return what `ask` returns as soon as it is acceptable, or its last word."""
    until = time.monotonic() + PATIENCE / 4
    while not accept(answer := ask()) and time.monotonic() < until:
        time.sleep(0.05)
    return answer


class Served:
    """A running example and a client for it that keeps cookies and follows no redirect."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def metrics(self) -> Series:
        response = self.client.get("/metrics")
        assert response.status_code == 200
        return series(response.text)


@contextmanager
def running(program: str) -> Iterator[Served]:
    port = free_port()
    command = [sys.executable, str(EXAMPLES / program), "--port", str(port)]
    process = subprocess.Popen(
        command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        with client_of(port) as client:
            wait_until_serving(process, client)
            yield Served(client)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def client_of(port: int | None) -> httpx.Client:
    # A connection for each request: some servers close theirs after an error without a word.
    limits = httpx.Limits(max_keepalive_connections=0)
    url = f"http://127.0.0.1:{port}"
    return httpx.Client(base_url=url, timeout=PATIENCE, limits=limits, verify=False)


def wait_until_serving(process: subprocess.Popen[bytes], client: httpx.Client) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            client.get("/metrics")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    process.kill()
    pytest.fail(f"{process.args!r} does not serve:\n{process.communicate()[0].decode()}")


@pytest.fixture
def serve() -> Iterator[Callable[[str], Served]]:
    """Start a program of examples/, and stop it after the test."""
    with ExitStack() as stack:
        yield lambda program: stack.enter_context(running(program))


@pytest.fixture
def run() -> Callable[..., str]:
    """Run a program of examples/ to its end and return what it prints."""

    def run(program: str, *arguments: str) -> str:
        command = [sys.executable, str(EXAMPLES / program), *arguments]
        done = subprocess.run(
            command,
            env=clean_environment(),
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


@pytest.fixture
def environment() -> Callable[..., dict[str, str]]:
    """Return this process's environment, less what would change an example, and more."""
    return clean_environment


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Ask until the answer is acceptable: a request is recorded after its last byte."""
    return ask_until
