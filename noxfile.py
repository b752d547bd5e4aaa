"""The matrix: each Python that is here, with the oldest and the newest frameworks.

make test-all                            all of it
make test-all ARGS="-s 'oldest-3.10'"    a corner
make test-all ARGS="-- tests/asgi -x"    what follows -- goes to pytest

And what no corner has: a version of Django between, and each extra in an environment of its own.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import nox
from nox.command import CommandFailed

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]
# How a project starts and logs in, two other versions show.
SHOWN = ("test_django_auth.py", "test_installation.py")
DJANGO_TESTS = (
    *("tests/django_door", "tests/test_every_door.py", "-k", "django"),
    *(f"--ignore=tests/django_door/{name}" for name in SHOWN),
)
PROJECT = nox.project.load_toml("pyproject.toml")["project"]
EXTRAS = ["none", *PROJECT["optional-dependencies"]]

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_external_run = True
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """Test with what requirements/dev.txt has locked."""
    run_tests(session, "requirements/dev.txt")


@nox.session(python=PYTHONS)
def oldest(session: nox.Session) -> None:
    """Test with the oldest supported frameworks: requirements/oldest.in has the list."""
    # They were written before the Pythons that deprecate what they use: that is not ours to mend.
    run_tests(session, "requirements/oldest.txt", "-W", "default")


@nox.session(python=PYTHONS[2:], name="django-6.0")
def django_between(session: nox.Session) -> None:
    """Test Django 6.0: the locks have 4.2, the newest, and 5.2 for Pythons before 3.12."""
    # To import every framework once more takes longer than another process would spare.
    tests = (*DJANGO_TESTS, "-n", "0")
    run_tests(session, "requirements/dev.txt", *tests, instead="django==6.0.10")


@nox.session(python=PYTHONS, reuse_venv=False)
@nox.parametrize("extra", EXTRAS)
def extras(session: nox.Session, extra: str) -> None:
    """Install as the README says, with one extra and nothing else, and use what it is for."""
    wanted = "" if extra == "none" else f"[{extra}]"
    session.install(f"prom-middleware{wanted} @ {built_wheel().as_uri()}")
    session.run("python", "-W", "error", "tests/extras.py", extra)


@cache
def built_wheel() -> Path:
    """Build what pip would install, once for all sessions."""
    directory = Path("build/extras").absolute()
    build = (sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--clear")
    subprocess.run([*build, "--out-dir", directory], check=True)  # noqa: S603 - all of it is here
    return next(directory.glob("*.whl"))


def run_tests(session: nox.Session, locked: str, *options: str, instead: str = "") -> None:
    session.install("-r", locked)
    if instead:
        session.install(instead)
    session.install("--no-deps", "-e", ".")
    # `make test` kills a thousand workers; here a few show that it works with these versions too.
    env = {"PROM_MIDDLEWARE_KILLS": "60", "PROM_MIDDLEWARE_EXACT": "2500"}
    # Sessions may run side by side: they share no cache.
    cache = ("-o", f"cache_dir={session.create_tmp()}/pytest")
    few = ("-m", "not once", "--hypothesis-profile=matrix")
    # No server depends on the framework that it serves; `make test-compiled` starts each as well.
    servers = "--ignore=tests/servers/test_real_servers.py"
    pytest = ("python", "-m", "pytest", *cache)
    rest = (*options, *few, servers, *session.posargs)
    side_by_side = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
    try:
        session.run(*pytest, *side_by_side, *rest, env=env)
    except CommandFailed:
        # What fails while others keep the machine busy has to pass by itself.
        again = ("--last-failed", "--last-failed-no-failures=none")
        session.run(*pytest, *rest, "-n", "0", *again, env=env)
