"""The time of an import beyond that of `prometheus_client`, and of a door that is made after it.

What the first scrape needs is imported with the first door: it may come when no file can be opened.
"""

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
FIRST_DOORS = {
    "prom_middleware.asgi.PrometheusMiddleware(app)": STATEMENTS[1],
    "prom_middleware.wsgi.PrometheusMiddleware(app)": STATEMENTS[2],
}
PROGRAM = """
import prometheus_client
from time import process_time
app = print
{before}
start = process_time()
{statement}
print(process_time() - start)
"""


def measure(rounds: int) -> dict[str, Figure]:
    """Return what each statement takes, in fresh interpreters that have `prometheus_client`."""
    before = {**dict.fromkeys(STATEMENTS, ""), **FIRST_DOORS}
    added: dict[str, list[float]] = {statement: [] for statement in before}
    for statement in before:
        _seconds(statement, before[statement])  # the byte code is compiled here
    for _ in range(rounds):
        for statement in before:
            added[statement].append(_seconds(statement, before[statement]))
    return {statement: Figure.of(values) for statement, values in added.items()}


def _seconds(statement: str, before: str) -> float:
    named = statement.rpartition(".")[2] if before else statement
    program = PROGRAM.format(statement=named, before=before)
    # An installed package has its byte code; a variable that forbids to write it would hide that.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    return float(done.stdout)
