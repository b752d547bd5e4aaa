"""The time of an import beyond that of `prometheus_client`."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.figures import Figure

STATEMENTS = (
    "import prom_middleware",
    "from prom_middleware.asgi import PrometheusMiddleware",
    "from prom_middleware.wsgi import PrometheusMiddleware",
)
PROGRAM = """
import prometheus_client
from time import process_time
start = process_time()
{statement}
print(process_time() - start)
"""


def measure(rounds: int) -> dict[str, Figure]:
    """Return what each statement takes, in fresh interpreters that have `prometheus_client`."""
    added: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for statement in STATEMENTS:
        _seconds(statement)  # the byte code is compiled here
    for _ in range(rounds):
        for statement in STATEMENTS:
            added[statement].append(_seconds(statement))
    return {statement: Figure.of(values) for statement, values in added.items()}


def _seconds(statement: str) -> float:
    program = PROGRAM.format(statement=statement)
    # An installed package has its byte code; a variable that forbids to write it would hide that.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    return float(done.stdout)
