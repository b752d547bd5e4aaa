"""A process that has imported Django runs each program in a fork: nothing is configured in it yet.

It is told them on standard input, a line of JSON each: [program, its standard input].
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parent.parent)}
# What most of a start's time goes to. The door and its package are left to each program.
IMPORTED = (
    "django.contrib.auth.apps",
    "django.core.handlers.asgi",
    "django.core.management.commands.migrate",
    "django.db.backends.sqlite3.base",
    "django.middleware.locale",
    "django.test",
    "prometheus_client",
)
ENDED = "exit code "


class Prepared:
    """That process, as the tests see it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, program: str, told: object) -> Any:
        """Return what the program prints last; what goes wrong is on standard error."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps([program, json.dumps(told)]), file=self._process.stdin, flush=True)
        said = [""]
        while not said[-1].startswith(ENDED):
            said.append(self._process.stdout.readline())
            assert said[-1], "the process has ended"
        assert said[-1] == f"{ENDED}0\n"
        return json.loads(said[-2])


@contextmanager
def prepared() -> Iterator[Prepared]:
    command = [sys.executable, "-W", "error", "-m", "django_door.prepared"]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Prepared(process)


def main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # else each fork's collections copy all of it
    for line in sys.stdin:
        program, told = json.loads(line)
        child = os.fork()
        if not child:
            sys.stdin = io.StringIO(told)
            exec(program, {"__name__": "__main__"})
            sys.stdout.flush()
            os._exit(0)  # to take everything apart would take longer than most programs
        print(f"{ENDED}{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}", flush=True)


if __name__ == "__main__":
    main()
