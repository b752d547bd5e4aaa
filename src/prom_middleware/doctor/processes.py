"""Several workers: whether their numbers come together."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from prometheus_client import values

from prom_middleware.doctor.findings import Finding
from prom_middleware.multiprocess.adoption import children
from prom_middleware.multiprocess.existing import find
from prom_middleware.stores.shared import DIRECTORY, SERVERS, SWITCH, is_off

# Where servers are told their number of workers.
UWSGI = ("UWSGI_PROCESSES", "UWSGI_WORKERS")
VARIABLES = ("WEB_CONCURRENCY", "UVICORN_WORKERS", "GRANIAN_WORKERS", *UWSGI)
GUNICORN_ARGUMENTS = re.compile(r"(?:^|\s)(?:-w|--workers)[ =]?(\d+)")
# Where a metric has a number, whatever its type is.
KEPT = ("_value", "_sum")
SHARE = f"set {DIRECTORY}=/run/shop/metrics, the same for all workers"


class Deployment(NamedTuple):
    """How an application is to be served: workers, the server's name, and the environment.

    `server` is empty where nobody says; `declared` is the directory of all workers, if any.
    """

    workers: int = 1
    server: str = ""
    environment: Mapping[str, str] = {}
    declared: str | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str], workers: int = 0, server: str = "") -> Deployment:
        """Return what an environment says, unless `workers` and `server` say otherwise."""
        found = workers or max(map(_number, map(environment.get, VARIABLES)))
        told = GUNICORN_ARGUMENTS.search(environment.get("GUNICORN_CMD_ARGS", ""))
        if not workers and told:
            found = int(told[1])
        if not server and not workers:
            # Those that read the variables are known to us.
            server = "uwsgi" if any(map(environment.get, UWSGI)) else "gunicorn"
        return cls(max(found, 1), server, dict(environment), environment.get(DIRECTORY) or None)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def unusable_directory(deployment: Deployment) -> Iterator[Finding]:
    """Yield a directory for all workers that cannot be one."""
    path = deployment.declared
    if path is None:
        return
    problem = _problem(path)
    if problem:
        yield Finding("workers", f"{DIRECTORY}={path} {problem}", f"{SHARE}, writable to them")


def _problem(path: str) -> str:
    if not os.path.isabs(path):
        return "is relative: workers may start elsewhere"
    if os.path.exists(path) and not os.path.isdir(path):
        return "is no directory"
    there = path
    while not os.path.exists(there):  # it is made, with what is above it
        there = os.path.dirname(there)
    if not os.path.isdir(there) or not os.access(there, os.W_OK | os.X_OK):
        return "cannot be written to"
    return ""


def several_users(deployment: Deployment) -> Iterator[Finding]:
    """Yield a directory in which some cannot open what others have made."""
    path = deployment.declared
    if path is not None and len(_owners(path)) > 1:
        yield Finding(
            "workers",
            f"{DIRECTORY}={path} has files of several users, who cannot open each other's",
            "have all its processes run as one user, and empty it while no worker runs",
        )


def _owners(path: str) -> set[int]:
    """Return whose our files are; and whose they should be, where only one user can make any."""
    owners = set()
    with suppress(OSError), os.scandir(path) as entries:  # it may not be for us to look at
        for entry in entries:
            if entry.name.startswith("prom_middleware"):
                with suppress(OSError):  # it is gone since
                    owners.add(entry.stat(follow_symlinks=False).st_uid)
    if not owners:
        return owners
    found = os.stat(path)
    return owners if found.st_mode & 0o022 else owners | {found.st_uid}


def alone(deployment: Deployment) -> Iterator[Finding]:
    """Yield workers that have nothing in common: each shows its own numbers."""
    if deployment.workers < 2:
        return
    for reason, holds, remedy in REASONS:
        if holds(deployment):
            yield Finding(
                "workers",
                f"{deployment.workers} workers without a shared directory, since {reason}: "
                "each shows its own numbers",
                remedy,
            )
            return


def _is_off(deployment: Deployment) -> bool:
    return is_off(deployment.environment)


def _is_unknown(deployment: Deployment) -> bool:
    return deployment.declared is None and deployment.server not in SERVERS


def _has_no_master(deployment: Deployment) -> bool:
    has_master = deployment.environment.get("UWSGI_MASTER", "") not in ("", "false", "0")
    return deployment.declared is None and deployment.server == "uwsgi" and not has_master


def _has_no_room(deployment: Deployment) -> bool:
    if deployment.declared is not None:
        return False
    try:
        return not os.access(tempfile.gettempdir(), os.W_OK)
    except FileNotFoundError:
        return True


# Why, and how it is mended.
REASONS: tuple[tuple[str, Callable[[Deployment], bool], str], ...] = (
    (f"{SWITCH} is off", _is_off, f"unset {SWITCH}: while it is off, {DIRECTORY} has no effect"),
    (f"only {', '.join(SERVERS)} are known to share one by themselves", _is_unknown, SHARE),
    ("uWSGI has no master (UWSGI_MASTER=1)", _has_no_master, SHARE),
    ("there is no folder for temporary files", _has_no_room, SHARE),
)


def made_too_early(deployment: Deployment) -> Iterator[Finding]:
    """Yield metrics of `prometheus_client` that were made before it knew of the directory."""
    if not os.environ.get(DIRECTORY):  # it may have been set by the application itself
        return
    names = sorted(metric._name for metric, _ in find() if _is_private(metric))
    if names:
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        yield Finding(
            "early-metrics",
            f"{shown}: made before {DIRECTORY} was set, so each worker shows its own",
            f"set {DIRECTORY} before Python starts, or call prom_middleware.multiprocess.install()",
        )


def _is_private(metric: Any) -> bool:
    """Tell whether a metric has its numbers in this process alone."""
    mutex: Any = values.MutexValue
    if not children(metric):  # what is yet to come
        made: Any = values.ValueClass
        return made is mutex
    kept = [getattr(child, name, None) for child in children(metric) for name in KEPT]
    return any(type(value) is mutex for value in kept)


CHECKS: tuple[Callable[[Deployment], Iterator[Finding]], ...] = (
    unusable_directory,
    several_users,
    alone,
    made_too_early,
)
