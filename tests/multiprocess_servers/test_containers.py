"""Servers that are pid 1 of a container: all of them have the same pid, and none the same files."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from metrics import value
from multiprocess_servers.crowd import Crowd
from multiprocess_servers.kinds import GTHREAD, UVICORN, WORKERS, Kind
from multiprocess_servers.namespaces import contained
from multiprocess_servers.serving import launching, private_directories, serving, workers
from servers.support import Server
from waiting import becomes, eventually

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc"),
]

KINDS = {
    "gunicorn": Kind(GTHREAD, 0),
    "gunicorn-preload": Kind((*GTHREAD, "--preload"), 0),
    "uvicorn": Kind(UVICORN, 0),
}


class Container:
    """A server that is pid 1 where it is."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.crowd = Crowd(server.port)

    def first(self) -> int:
        """Return the server's pid as it is out here."""
        (found,) = workers(self.server.process.pid)
        return found

    def counts(self) -> tuple[float, float]:
        """Return how many requests are counted, and how many workers live."""
        samples = self.server.metrics()
        live = value(samples, "prom_middleware_workers", {"state": "live"})
        return value(samples, "http_requests_total"), live


@contextmanager
def running(kind: Kind, base: Path) -> Iterator[Container]:
    """Run a container that has `base` for its temporary files, and kill it in the end."""
    with launching(base / "log", TMPDIR=str(base)) as launch:
        command = contained(kind.arguments(launch.port))
        with serving(launch, command) as server:
            container = Container(server)
            try:
                yield container
            finally:
                for pid in workers(server.process.pid):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


def check(container: Container) -> None:
    """Every worker answers, and every scrape has all of them."""
    container.crowd.ask_all(WORKERS)
    expected = container.crowd.answers, WORKERS
    assert becomes(container.counts, expected) == expected


@pytest.mark.parametrize("name", KINDS)
def test_a_server_that_is_pid_1_counts_all_its_workers(name: str, tmp_path: Path) -> None:
    with running(KINDS[name], tmp_path) as container:
        assert container.counts()[0] == 0
        check(container)
        (found,) = private_directories(tmp_path)
        assert found.name.startswith("1-")
        victim = workers(container.first())[0]
        os.kill(victim, signal.SIGKILL)
        now = eventually(
            lambda: workers(container.first()),
            lambda now: victim not in now and len(now) == WORKERS,
        )
        assert len(now) == WORKERS
        check(container)


@pytest.mark.parametrize("name", KINDS)
def test_a_container_that_is_started_again_begins_at_zero(name: str, tmp_path: Path) -> None:
    with running(KINDS[name], tmp_path) as container:
        check(container)
        (old,) = private_directories(tmp_path)
    with running(KINDS[name], tmp_path) as container:
        assert container.counts()[0] == 0
        check(container)
        found = eventually(
            lambda: [path for path in private_directories(tmp_path) if path != old], bool
        )
        assert [path.name.startswith("1-") for path in found] == [True]


def test_two_containers_with_one_directory_for_temporary_files(tmp_path: Path) -> None:
    with ExitStack() as stack:
        containers = [
            stack.enter_context(running(kind, tmp_path)) for kind in (KINDS["gunicorn"],) * 2
        ]
        for container in containers:
            check(container)
        assert len(private_directories(tmp_path)) == 2
