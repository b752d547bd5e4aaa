"""Workers are killed while clients send requests and a scraper scrapes: no number is wrong."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from metrics import Series, series, value
from multiprocess_servers.crowd import Crowd
from multiprocess_servers.kinds import KINDS, WORKERS, Kind
from multiprocess_servers.serving import Launch, born, launching, private_directories, workers
from multiprocess_servers.watch import Watch, attempt, faults
from servers.support import Server
from waiting import eventually

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc"),
]

# The dictionary, its lock, and a file that is being made.
MORE_FILES = 3
MOMENTS = 0.03  # seconds between two kills, at most
# With every version of the frameworks: an application of Flask, of Starlette and of Django.
EVERYWHERE = ("gunicorn-sync-preload", "uvicorn", "gunicorn-uvicorn-django")
NAMES = [pytest.param(name, marks=[pytest.mark.once] * (name not in EVERYWHERE)) for name in KINDS]


class Siege:
    """A server, and one who kills its workers."""

    def __init__(self, kind: Kind, launch: Launch, crowd: Crowd) -> None:
        self.kind = kind
        self.launch = launch
        self.crowd = crowd
        self.server = launch.start(kind.arguments(launch.port))
        self.killed = self.ended = self.starts = 0
        self._dice = random.Random(1)

    def run(self) -> None:
        """Kill as many as the kind has to bear, and end an eighth as many politely."""
        while self.killed < self.kind.kills:
            self.killed += self._hit(signal.SIGKILL)
            if self.ended < round(self.killed / 8):
                self.ended += self._hit(signal.SIGTERM)

    def _hit(self, number: signal.Signals) -> bool:
        # Somebody has to be served in between, or all are killed before they serve anybody.
        self.crowd.wait_for_an_answer(1.0)
        time.sleep(self._dice.random() * MOMENTS)
        self.revive()
        victim = self._victim()
        if victim is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(victim, number)
            return True
        return False

    def _victim(self) -> int | None:
        found = workers(self.server.process.pid)
        if self.kind.oldest_first:
            return min(found, key=born) if len(found) == WORKERS else None
        return self._dice.choice(found) if found else None

    def revive(self) -> None:
        """Start the server again if it did not outlive its workers."""
        if self.server.process.poll() is not None:
            assert self.kind.mortal, f"the server ended: {self.server.process.returncode}"
            self.launch.end(self.server)
            self.server = self.launch.start(self.kind.arguments(self.launch.port))
            self.starts += 1


def directory_of(kind: Kind, base: Path, server: Server) -> Path:
    if not kind.private:
        return base / "metrics"
    (found,) = private_directories(base)
    assert found.name.startswith(f"{server.process.pid}-")
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(300)
def test_no_number_is_wrong_while_workers_are_killed(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    kind = KINDS[name]
    where = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")} if not kind.private else {}
    with launching(tmp_path / "log", TMPDIR=str(tmp_path), **where) as launch:
        crowd = Crowd(launch.port)
        siege = Siege(kind, launch, crowd)
        try:
            watch = besiege(siege, directory_of(kind, tmp_path, siege.server))
            assert_all_is_counted(siege)
        finally:
            launch.end(siege.server)
    record_property("figures", figures(siege, watch))
    print(name, figures(siege, watch))


def besiege(siege: Siege, directory: Path) -> Watch:
    """Kill under load, and return what was seen meanwhile."""

    def look(_: Series) -> Iterator[str]:
        files = sorted(path.name for path in directory.iterdir())
        if len(files) > WORKERS + MORE_FILES:
            yield f"{len(files)} files: {files}"

    watch = Watch(siege.launch.port, look)
    with siege.crowd:
        watch.start()
        try:
            siege.run()
        finally:
            # The server may be about to die of the last kill.
            siege.crowd.stop(siege.revive)
            watch.stop(siege.revive)
    assert watch.faults == []
    assert watch.scrapes > 0
    return watch


def assert_all_is_counted(siege: Siege) -> None:
    """Have every worker that lives answer, and compare what clients got with what is counted."""
    # Some are about to record, to die or to be started; a server may have to be started again.
    assert eventually(lambda: list(wrong(siege)), lambda found: not found, 60) == []


def wrong(siege: Siege) -> Iterator[str]:
    """Yield what is not yet, or not at all, as it must be in the end."""
    siege.revive()
    living = set(workers(siege.server.process.pid))
    if len(living) == WORKERS and not living <= siege.crowd.pids:
        siege.crowd.ask_at_once("/items")
    if len(living) != WORKERS or not living <= siege.crowd.pids:
        yield f"of the workers {living}, {living & siege.crowd.pids} have answered"
        return
    text = attempt(siege.launch.port)
    if text is None:
        yield "no scrape was answered"
    else:
        samples = series(text)
        yield from faults({}, samples)
        yield from unfinished(samples)
        yield from miscounted(siege.crowd, samples)


def unfinished(samples: Series) -> Iterator[str]:
    if left := value(samples, "http_requests_in_progress"):
        yield f"{left} requests are in progress"
    live = value(samples, "prom_middleware_workers", {"state": "live"})
    if live != WORKERS:
        yield f"{live} workers are live"


def miscounted(crowd: Crowd, samples: Series) -> Iterator[str]:
    for page in {page for page, _ in crowd.whole} | set(crowd.cut):
        counted = value(samples, "http_requests_total", {"page": page})
        whole = sum(number for (of, _), number in crowd.whole.items() if of == page)
        if not whole <= counted <= whole + crowd.cut[page]:
            yield f"{page}: {counted} counted, {whole} whole, {crowd.cut[page]} cut off"
    for (page, status), whole in crowd.whole.items():
        counted = value(samples, "http_requests_total", {"page": page, "status": status})
        if counted < whole:
            yield f"{page}: {counted} counted as {status}, {whole} whole"


def figures(siege: Siege, watch: Watch) -> dict[str, int]:
    crowd = siege.crowd
    return {
        "killed": siege.killed,
        "ended": siege.ended,
        "server starts": siege.starts,
        "whole": crowd.answers,
        "cut": sum(crowd.cut.values()),
        "workers seen": len(crowd.pids),
        "scrapes": watch.scrapes,
    }
