"""What does not depend on a server: exact sums, files that do not grow, forks among threads."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from metrics import Series, series, value
from multiprocess_servers.serving import HERE, environment, launching, serving
from multiprocess_servers.watch import Watch, scrape
from servers.support import python
from waiting import becomes

pytestmark = pytest.mark.real

PROCESSES, THREADS = 4, 8
EACH = int(os.environ.get("PROM_MIDDLEWARE_EXACT", "25000"))
RESTARTS = int(os.environ.get("PROM_MIDDLEWARE_KILLS", "1000"))

# All that is needed to show the metrics of a directory from a process of its own.
EXPOSE = """
from prom_middleware import instrument
from prom_middleware.exposition import make_wsgi_app, start_http_server
instrument(make_wsgi_app())
start_http_server({port}, "127.0.0.1")[1].join()
"""


def surroundings(directory: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))
    return {**environment(PROMETHEUS_MULTIPROC_DIR=str(directory)), "PYTHONPATH": path}


def told(directory: Path, *arguments: object) -> Any:
    """Run a program to its end, and return what it told."""
    # To fork where there are threads is what is tested; Python 3.12 and newer warn of it.
    command = python("-W", "ignore::DeprecationWarning", *map(str, arguments))
    done = subprocess.run(
        command, cwd=HERE, env=surroundings(directory), capture_output=True, text=True, timeout=110
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def recorder(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        python("recording.py", "exactly", str(THREADS), str(EACH)),
        cwd=HERE,
        env=surroundings(directory),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def say(recorders: list[subprocess.Popen[str]]) -> None:
    for process in recorders:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def hear(recorders: list[subprocess.Popen[str]], word: str) -> None:
    for process in recorders:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{word}\n"


@pytest.mark.timeout(600)
def test_every_request_of_all_threads_of_all_processes_is_counted_once(tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    where = {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    with launching(tmp_path / "log", **where) as launch, ExitStack() as stack:
        command = python("-c", EXPOSE.format(port=launch.port))
        stack.enter_context(serving(launch, command))
        recorders = [stack.enter_context(recorder(directory)) for _ in range(PROCESSES)]
        hear(recorders, "ready")
        watch = Watch(launch.port, at_most_all)
        watch.start()
        try:
            say(recorders)
            hear(recorders, "recorded")
        finally:
            watch.stop()
        samples = series(scrape(launch.port))
        say(recorders)
    assert watch.faults == []
    assert watch.scrapes > 0
    total = PROCESSES * THREADS * EACH
    assert value(samples, "http_requests_total") == total
    assert value(samples, "http_request_duration_seconds_count") == total
    assert value(samples, "http_requests_in_progress") == 0


def at_most_all(samples: Series) -> Iterator[str]:
    if value(samples, "http_requests_in_progress") > PROCESSES * THREADS:
        yield "more requests in progress than there are threads"


def test_nothing_grows_with_restarts(tmp_path: Path) -> None:
    program = ("recording.py", "restart", RESTARTS)
    ((before, after, requests),) = told(tmp_path / "metrics", *program)
    # One slot is the parent's; all who were killed had the other one after each other.
    (second,) = set(after) - set(before)
    assert second.endswith("0001.vector")
    assert {name: after[name] for name in before} == before
    assert after[second] == before[second.replace("0001", "0000")]
    assert requests == 50 + 2 * RESTARTS


# What was begun counts in the end, once, with the status that the client was told.
ENDINGS = {
    "GET": {"200": 1},  # its worker was killed when the body was sent
    "OPTIONS": {"200": 2},  # the same, after a response without a body
    "DELETE": {"200": 1},  # the same, with a body that the server sends by itself
    "PUT": {"500": 1},  # an exception before the first byte
    "POST": {"499": 1},  # a client that was gone before the response began
    "PATCH": {"500": 1},  # a start that the server did not take, and another one
}


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, float]]:
    """Return method, status and number of all that `promises.py` has begun."""
    return list(map(tuple, told(tmp_path_factory.mktemp("promises"), "promises.py")))


@pytest.mark.parametrize("method", ENDINGS)
def test_a_response_that_came_to_nothing_is_counted_once(
    method: str, endings: list[tuple[str, str, float]]
) -> None:
    assert {status: number for m, status, number in endings if m == method} == ENDINGS[method]


def test_children_forked_while_threads_record_count_on_their_own(tmp_path: Path) -> None:
    program = ("recording.py", "fork", THREADS)
    ((codes, done, of_parents, of_children),) = told(tmp_path / "metrics", *program)
    assert codes == [0] * 6
    assert of_parents == done
    assert of_children == 6 * 2 * 50


def test_a_process_of_its_own_shows_what_workers_recorded(tmp_path: Path) -> None:
    told(tmp_path / "metrics", "recording.py", "restart", 3)
    where = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}
    with launching(tmp_path / "log", **where) as launch:
        command = python("-c", EXPOSE.format(port=launch.port))
        with serving(launch, command) as server:
            assert value(server.metrics(), "http_requests_total") == 50 + 2 * 3
            live = {"state": "live"}
            scraped = becomes(lambda: value(server.metrics(), "prom_middleware_workers", live), 1)
            assert scraped == 1  # it counts its scrapes
