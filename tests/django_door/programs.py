"""Programs that configure Django for themselves; what they print last is JSON.

Most run in forks of a process that has imported Django, and where imports are the point, alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from forked import Forked

PYTHON = (sys.executable, "-W", "error")
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


@cache
def _django() -> Forked:
    return Forked(PYTHON, IMPORTED, ENVIRONMENT)


def run(program: str, told: object) -> Any:
    """Run a program where Django is imported, and configured by nobody."""
    return _last_line(_django().run(program, text=json.dumps(told)))


def run_alone(program: str, told: object) -> Any:
    """Run a program in a process that has imported nothing before."""
    done = subprocess.run(
        [*PYTHON, "-c", program],
        input=json.dumps(told),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return _last_line(done)


def _last_line(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
