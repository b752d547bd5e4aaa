"""Requests beside a flood of names: `python -m benchmarks.floods PART`, figures as JSON.

A server answers requests and listens for StatsD in one process. Another process sends 100,000 new
names a second, in turns to that listener and to one like it in a process beside: what sending and
reading take of the machine is in both.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

from benchmarks import load, parts
from benchmarks.figures import Figure, Target
from benchmarks.flooding import PACKED, RATE
from benchmarks.tables import table

PHASES, SECONDS = 12, 3.0  # of each kind
FEW, SHORT = 2, 0.5
BESIDE, HERE = "beside", "here"
# What one more system on the machine may do to requests.
TIMES = 1.5
METHOD = """\
A uvicorn server answers {load} requests a second, and has a StatsD listener of 10,000 series in the
same process. Another process sends {rate:,} new names a second, by UDP {packed} to a datagram, in
phases of {seconds:g} seconds that take turns: to that listener, or to one like it in a process that
answers nobody, so that what sending and reading take of the machine is in both. Latencies are those
of all {phases} phases, with the 95 % interval in brackets; stalls are medians of the phases, as
above, of the wall clock and of the process's own time.
"""
WHERE = {BESIDE: "a process beside", HERE: "the server's"}
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
STALLS = {"wall": "longest stall", "own": "in own time"}
Figures = dict[str, Any]
Phase = dict[str, Any]


def main() -> None:
    """Measure one part, and print the figures."""
    options = parts.options("floods", "part", PARTS)
    phases, seconds = (FEW, SHORT) if options.quick else (PHASES, SECONDS)
    json.dump(PARTS[options.part](phases, seconds), sys.stdout)


def measure(kind: str, phases: int, seconds: float) -> Figures:
    """Return the figures of requests beside one kind of flood."""
    found: dict[str, list[Phase]] = {BESIDE: [], HERE: []}
    at = KINDS.index(kind)
    with _server() as (http, *here), _server() as (other, *beside):
        load.requests(http, seconds / 3)
        ends = {BESIDE: beside[at], HERE: here[at]}
        for number in range(phases):
            for to in list(ends)[:: 1 if number % 2 else -1]:
                with _flood(kind, ends[to]):
                    found[to].append(_phase(http, seconds))
        for port in (http, other):
            # A quick run does not come to the limit.
            arrived = b'reason="series_limit"' if seconds == SECONDS else b"\nflood_name_"
            assert arrived in load.get(port, "/metrics"), "no flood"
    figures = {to: _figures(each) for to, each in found.items()}
    return {**figures, "size": {"phases": phases, "seconds": seconds}}


@contextmanager
def _server() -> Iterator[list[int]]:
    command = [sys.executable, "-m", "benchmarks.flooded"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def _flood(kind: str, port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.flooding", kind, str(port)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        try:
            yield
        finally:
            process.communicate(b"end", timeout=60)


def _phase(port: int, seconds: float) -> Phase:
    load.get(port, "/beat")
    latencies = load.requests(port, seconds)
    return {"latencies": latencies, **json.loads(load.get(port, "/rest"))}


def _figures(phases: list[Phase]) -> Figures:
    latencies = [seconds for phase in phases for seconds in phase["latencies"]]
    figures = {name: Figure.at(latencies, share) for name, share in QUANTILES.items()}
    figures |= {stall: Figure.of([phase[stall] for phase in phases]) for stall in STALLS}
    return {name: asdict(figure) for name, figure in figures.items()}


KINDS = ("udp", "tcp")
PARTS: dict[str, Callable[[int, float], Figures]] = {kind: partial(measure, kind) for kind in KINDS}


def targets(parts: dict[str, Figures]) -> Iterator[Target]:
    """Yield every target with what was measured."""
    for kind, figures in parts.items():
        here, beside = Figure(**figures[HERE]["p99"]), Figure(**figures[BESIDE]["p99"])
        what = f"p99 of requests, {RATE:,} names a second by {kind.upper()} / to a process beside"
        yield Target.ratio(what, here, beside, TIMES)


def section(parts: dict[str, Figures]) -> Iterator[str]:
    """Yield what the report says."""
    if not parts:
        return
    size = next(iter(parts.values()))["size"]
    yield "## Floods of names"
    yield METHOD.format(load=load.RATE, rate=RATE, packed=PACKED, **size).strip()
    head = ("milliseconds", *QUANTILES, *STALLS.values())
    yield table(head, _rows(parts))


def _rows(parts: dict[str, Figures]) -> Iterator[tuple[str, ...]]:
    for kind, figures in parts.items():
        for to, where in WHERE.items():
            shown = (Figure(**figures[to][name]).show(1e3, 2) for name in figures[to])
            yield f"{kind.upper()}, to {where}", *shown


if __name__ == "__main__":
    main()
