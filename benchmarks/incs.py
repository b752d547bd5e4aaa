"""What `inc()` of a user's own counter takes, in the shared store and without it.

Each in a process of its own, since `install()` moves every metric of a process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

ALONE, SHARED = "alone", "shared"
# Reads how often, and answers how long one took and how many there were.
PROGRAM = """
import sys
from time import process_time
from prometheus_client import Counter
if sys.argv[1:]:
    from prom_middleware.multiprocess import install
    from prom_middleware.stores.multiprocess import MultiprocessStore
    install(MultiprocessStore(sys.argv[1]))
counter = Counter("counted", "Counted.")
for line in sys.stdin:
    number, inc = int(line), counter.inc
    start = process_time()
    for _ in range(number):
        inc()
    seconds = process_time() - start
    print(seconds / number, next(iter(counter.collect())).samples[0].value, flush=True)
"""


def measure(directory: str, rounds: int, batch: int) -> dict[str, list[float]]:
    """Return the seconds of processor time of an `inc()`, in turns; the first round warms up."""
    seconds: dict[str, list[float]] = {ALONE: [], SHARED: []}
    with ExitStack() as stack:
        programs = {
            ALONE: stack.enter_context(_program()),
            SHARED: stack.enter_context(_program(directory)),
        }
        for number in range(1, rounds + 2):
            for name, program in programs.items():
                taken, counted = _ask(program, batch)
                assert counted == number * batch, (name, counted)
                seconds[name].append(taken)
    return {name: each[1:] for name, each in seconds.items()}


@contextmanager
def _program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    alone = {name: value for name, value in os.environ.items() if "MULTIPROC" not in name}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=alone, text=True, **pipes) as program:  # type: ignore[call-overload]
        yield program


def _ask(program: subprocess.Popen[str], batch: int) -> tuple[float, float]:
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(f"{batch}\n")
    program.stdin.flush()
    taken, counted = program.stdout.readline().split()
    return float(taken), float(counted)
