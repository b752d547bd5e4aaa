"""How long the event loop of a real server stands still while it is scraped, and who notices."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from time import sleep
from typing import Any

from benchmarks import load
from benchmarks.figures import Figure

# Nothing; requests; requests and plain scrapes; requests and scrapes as Prometheus makes them.
IDLE, BUSY, PLAIN, GZIP = "idle", "busy", "plain", "gzip"
# The peer stands still for so long that less of it tells as much.
KINDS = {"ours": (IDLE, BUSY, PLAIN, GZIP), "theirs": (IDLE, BUSY, PLAIN)}
PEER_EVERY = 2
# What one phase of one side has: all in seconds.
Phase = dict[str, Any]


def measure(series: int, phases: int, seconds: float) -> dict[str, Any]:
    """Return the figures of each side in each phase; the phases take turns.

    What the watch sees in idle ones is the machine. Latencies are of phases without it: it reads
    some files each millisecond, and would give the interpreter away at each of them.
    """
    found: dict[str, dict[str, list[Phase]]] = {
        side: {kind: [] for kind in kinds} for side, kinds in KINDS.items()
    }
    with ExitStack() as stack:
        ports = {side: stack.enter_context(_server(side, series)) for side in KINDS}
        for port in ports.values():
            load.requests(port, seconds / 5)
            load.get(port, "/metrics")
        for number in range(phases):
            for side in ("ours",) if number % PEER_EVERY else KINDS:
                kinds = KINDS[side]
                for kind in kinds[::-1] if number % 2 else kinds:
                    found[side][kind].append(_phase(ports[side], kind, seconds))
    figures = {
        side: {kind: _figures(each) for kind, each in of.items()} for side, of in found.items()
    }
    return {**figures, "load": {"rate": load.RATE}}


@contextmanager
def _server(side: str, series: int) -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.stalled", side, str(series)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _phase(port: int, kind: str, seconds: float) -> Phase:
    with _scraped(port, kind):
        load.get(port, "/beat")
        if kind == IDLE:
            sleep(seconds)
        else:
            load.requests(port, seconds)
        beats = json.loads(load.get(port, "/rest"))
    with _scraped(port, kind) as scrapes:
        latencies = [] if kind == IDLE else load.requests(port, seconds)
    return {
        "stall": beats["wall"],
        "own": beats["own"],
        "latencies": latencies,
        "scrapes": [scrape["seconds"] for scrape in scrapes],
        "bytes": [scrape["bytes"] for scrape in scrapes],
    }


def _scraped(port: int, kind: str) -> AbstractContextManager[list[dict[str, float]]]:
    return load.scrapes(port, kind) if kind in load.HEADERS else nullcontext([])


def _figures(phases: list[Phase]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        name: asdict(Figure.of([phase[name] for phase in phases])) for name in ("stall", "own")
    }
    latencies = [seconds for phase in phases for seconds in phase["latencies"]]
    if latencies:
        figures["p99"] = asdict(Figure.at(latencies, 0.99))
    figures["worst"] = max(phase["stall"] for phase in phases)
    figures["worst_own"] = max(phase["own"] for phase in phases)
    scrapes = [seconds for phase in phases for seconds in phase["scrapes"]]
    if scrapes:
        figures["scrape"] = asdict(Figure.of(scrapes))
        figures["bytes"] = max(size for phase in phases for size in phase["bytes"])
        figures["scrapes"] = len(scrapes)
    return figures
