"""Tell what is wrong with an installation: doors, order, workers, routes, and who may read it."""

# Nothing of prometheus_client before the application: it decides at its import whether metrics are
# in files, and an application that sets the variable before that is right to do so.
from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from prom_middleware.commands import CommandError, arguments, told
from prom_middleware.commands.modules import load
from prom_middleware.doctor import findings
from prom_middleware.stores.shared import DIRECTORY

if TYPE_CHECKING:
    from prom_middleware.doctor import Finding

EPILOG = """\
examples:
  prom-middleware doctor shop.main:app
  prom-middleware doctor shop.settings                    (Django)
  prom-middleware doctor shop.main:create_app --workers 4 --server gunicorn
  prom-middleware doctor shop.main:app --ignore open-metrics

Exit code 0: nothing was found; 1: there is no application, or it cannot be imported; 2: there are
findings, or wrong arguments. The application is imported, and its middleware is built; no request
is made.
"""
NAMES = ("app", "application", "site", "root")
FOUND = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "application",
        help="module:app, where the part after the colon is an application or a function that "
        f"makes one (without it: {', '.join(NAMES)}), or a module of Django settings",
    )
    parser.add_argument(
        "--workers",
        type=arguments.count,
        default=0,
        help="processes that will serve it (default: what WEB_CONCURRENCY and the like say)",
    )
    parser.add_argument(
        "--server", default="", help="their server: gunicorn, uvicorn, hypercorn, granian, uwsgi"
    )
    parser.add_argument(
        "--ignore",
        action="append",
        choices=findings.NAMES,
        default=[],
        metavar="CHECK",
        help="what is meant to be so; may be there several times: " + ", ".join(findings.NAMES),
    )


def run(options: argparse.Namespace) -> int:
    """Print the findings."""
    with told(options.application), tempfile.TemporaryDirectory() as stand_in:
        everything = _examined(options, stand_in)
    found = [one for one in everything if one.check not in options.ignore]
    with suppress(BrokenPipeError):  # who reads has seen enough; the exit code tells the rest
        _show(options.application, found)
    return FOUND if found else 0


def _show(application: str, found: Sequence[Finding]) -> None:
    for one in found:
        print(f"{one.check}: {one.problem}\n    mend: {one.remedy}")
    print(f"{application}: {_count(len(found))}", flush=True)


def _count(number: int) -> str:
    return {0: "nothing was found", 1: "1 finding"}.get(number, f"{number} findings")


def _examined(options: argparse.Namespace, stand_in: str) -> list[Finding]:
    declared = os.environ.get(DIRECTORY)
    if declared:  # what is there is the workers'; this process is none of them
        os.environ[DIRECTORY] = stand_in
    try:
        app = load(options.application, _of_module)
        from prom_middleware.applications import is_application
        from prom_middleware.doctor import Deployment, examine

        if not is_application(app):
            raise CommandError(f"{options.application}: {app!r} is no application")
        named = os.environ.get(DIRECTORY)  # the application may have done it itself
        environment = {**os.environ, DIRECTORY: (declared if named == stand_in else named) or ""}
        return examine(app, Deployment.of(environment, options.workers, options.server))
    finally:
        if declared:
            os.environ[DIRECTORY] = declared


def _of_module(module: ModuleType) -> Any:
    """Return a module's application, or that of the settings that it is."""
    if hasattr(module, "ROOT_URLCONF"):
        os.environ["DJANGO_SETTINGS_MODULE"] = module.__name__
        return import_module("django.core.wsgi").get_wsgi_application()
    for name in NAMES:
        if hasattr(module, name):
            return getattr(module, name)
    raise CommandError(f"{module.__name__} has none of {', '.join(NAMES)}: name it, module:app")
