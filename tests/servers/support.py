"""Really start a server, wait until it answers, and stop it by its process id."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import httpx

from metrics import Series, series

HERE = Path(__file__).parent
STARTING = 60.0  # seconds that a server on a busy machine may take
STOPPING = 20.0
TIMEOUT = 30.0


class Server:
    """A process that serves; `client` opens a connection for each request."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.client = client(self.url, keep_alive=False)
        self._log = log

    def metrics(self) -> Series:
        """Scrape."""
        answer = self.client.get("/metrics")
        assert answer.status_code == 200, answer
        return series(answer.text)

    def wait(self, path: str = "/metrics") -> None:
        """Return once `path` is answered; an AssertionError tells what the server said instead."""
        deadline = time.monotonic() + STARTING
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(httpx.TransportError):
                if self.client.get(path).status_code == 200:
                    return
            time.sleep(0.1)
        self._log.seek(0)
        said = self._log.read().decode(errors="replace")
        code = self.process.poll()
        raise AssertionError(f"{self.process.args!r} does not answer (exit code {code}):\n{said}")


def client(url: str, keep_alive: bool = True) -> httpx.Client:
    limits = httpx.Limits(max_keepalive_connections=1 if keep_alive else 0)
    # Proxies that the environment names have no part in this; to read the authorities' certificates
    # takes longer than all that many tests ask.
    return httpx.Client(base_url=url, timeout=TIMEOUT, limits=limits, trust_env=False, verify=False)


def python(*arguments: str) -> list[str]:
    """Return a command of this environment's Python."""
    return [sys.executable, *arguments]


@contextmanager
def launched(command: Sequence[str], port: int) -> Iterator[Server]:
    """Run `command`, which listens on `port` sooner or later, until the block ends."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log)
        server = Server(process, port, log)
        try:
            yield server
        finally:
            server.client.close()
            stop(process)


@contextmanager
def running(command: Sequence[str], port: int, ready: str = "/metrics") -> Iterator[Server]:
    """Run `command` until the block ends; the block begins when `ready` is answered."""
    with launched(command, port) as server:
        server.wait(ready)
        yield server


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that we started; without mercy if it does not listen."""
    process.terminate()
    try:
        process.wait(STOPPING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOPPING)
