"""The time of an import beyond that of `prometheus_client`."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.figures import Figure

BASELINE = "import prometheus_client"
STATEMENTS = (
    "import prom_middleware",
    "from prom_middleware.asgi import PrometheusMiddleware",
    "from prom_middleware.wsgi import PrometheusMiddleware",
)
# The second import costs nothing where the statement has done it already.
PROGRAM = """
from time import process_time
start = process_time()
{statement}
import prometheus_client
print(process_time() - start)
"""


def measure(rounds: int) -> dict[str, Figure]:
    """Return what each statement takes more, in pairs of fresh interpreters."""
    added: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for statement in (BASELINE, *STATEMENTS):
        _seconds(statement)  # the byte code is compiled here
    for number in range(rounds):
        for statement in STATEMENTS:
            # The order of a pair changes, so that neither profits from being the second.
            pair = [BASELINE, statement] if number % 2 else [statement, BASELINE]
            seconds = {each: _seconds(each) for each in pair}
            added[statement].append(seconds[statement] - seconds[BASELINE])
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
