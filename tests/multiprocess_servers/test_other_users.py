"""A server that root starts for another user: what its workers find is theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import gunicorn
import prometheus_client
import pytest

import prom_middleware
from metrics import Series, value
from multiprocess_servers.crowd import Crowd
from multiprocess_servers.serving import HERE, launching, serving
from servers.support import Server
from waiting import eventually

NOBODY = 65534
PAGE = "/items"
PACKAGES = (prom_middleware, prometheus_client, gunicorn)
PATH = os.pathsep.join(
    [str(HERE), *(str(Path(str(each.__file__)).parents[1]) for each in PACKAGES)]
)
# Where the system has Python: the one of these tests may be in somebody's home.
PYTHONS = (sys.executable, "/usr/bin/python3")
IMPORTS = "import gunicorn.app.wsgiapp, gunicorn.workers.sync, pool_app"

pytestmark = [
    pytest.mark.real,
    pytest.mark.once,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else"),
]


def works(python: str) -> bool:
    """Tell whether nobody can run it, with what these tests need."""
    command = [python, "-c", IMPORTS]
    variables = {"PYTHONPATH": PATH, "PROM_MIDDLEWARE_MULTIPROC": "off"}
    try:
        done = subprocess.run(
            command, env=variables, cwd="/", capture_output=True, user=NOBODY, timeout=60
        )
    except OSError:
        return False
    return done.returncode == 0


@cache
def interpreter() -> str:
    found = next(filter(works, PYTHONS), None)
    if found is None:
        pytest.skip("nobody can read no Python here")
    return found


@pytest.fixture
def base() -> Iterator[Path]:
    """Make a folder for temporary files that everybody can reach: pytest's own is root's alone."""
    with TemporaryDirectory(dir="/tmp") as path:
        os.chmod(path, 0o1777)
        yield Path(path)


def nothing(base: Path) -> dict[str, str]:
    return {}


def theirs(base: Path) -> dict[str, str]:
    directory = base / "metrics"
    directory.mkdir(mode=0o700)
    os.chown(directory, NOBODY, -1)
    return {"PROMETHEUS_MULTIPROC_DIR": str(directory)}


def everybodys(base: Path) -> dict[str, str]:
    return {"PROMETHEUS_MULTIPROC_DIR": str(base)}


def missing(base: Path) -> dict[str, str]:
    return {"PROMETHEUS_MULTIPROC_DIR": str(base / "made" / "metrics")}


def start(stack: ExitStack, base: Path, *options: str, **variables: str) -> Server:
    launch = stack.enter_context(
        launching(base / "log", TMPDIR=str(base), PYTHONPATH=PATH, **variables)
    )
    user = "--user", str(NOBODY), "--bind", f"127.0.0.1:{launch.port}", "--workers", "2"
    command = [interpreter(), "-m", "gunicorn", *user, *options, "pool_app:app"]
    return stack.enter_context(serving(launch, command))


def asked(server: Server) -> int:
    crowd = Crowd(server.port)
    crowd.ask_all(2, PAGE)
    return crowd.answers


def counted(samples: Series) -> float:
    return value(samples, "http_requests_total", {"page": PAGE})


def owners(base: Path) -> set[int]:
    """Return whose the files are."""
    files = [path for path in base.rglob("prom_middleware*") if path.is_file()]
    return {path.stat().st_uid for path in files}


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["", "preload"])
@pytest.mark.parametrize("given", [nothing, theirs, everybodys])
def test_workers_of_another_user_are_shown_in_one_scrape(
    given: Callable[[Path], dict[str, str]], options: tuple[str, ...], base: Path
) -> None:
    with ExitStack() as stack:
        server = start(stack, base, *options, **given(base))
        number = asked(server)
        samples = eventually(server.metrics, lambda found: counted(found) == number)
        assert counted(samples) == number
        assert value(samples, "prom_middleware_workers", {"state": "live"}) == 2
        assert value(samples, "prom_middleware_errors_total") == 0
        assert owners(base) == {NOBODY}


def test_a_directory_that_root_makes_is_the_workers_own(base: Path) -> None:
    with ExitStack() as stack:
        server = start(stack, base, "--preload", **missing(base))
        number = asked(server)
        samples = eventually(server.metrics, lambda found: counted(found) == number)
        assert counted(samples) == number
        assert value(samples, "prom_middleware_errors_total") == 0


def test_who_is_shut_out_shows_what_he_has(base: Path) -> None:
    directory = base / "metrics"
    directory.mkdir(mode=0o700)
    with ExitStack() as stack:
        server = start(stack, base, "--preload", PROMETHEUS_MULTIPROC_DIR=str(directory))
        number = asked(server)
        samples = server.metrics()
        assert 0 < counted(samples) < number
        assert value(samples, "prom_middleware_errors_total", {"cause": "store"}) > 0


def test_what_a_server_left_is_removed_by_the_next_one_s_workers(base: Path) -> None:
    with ExitStack() as first:
        asked(start(first, base, "--preload"))
    (old,) = base.glob("prom_middleware-*/*")
    with ExitStack() as second:
        asked(start(second, base, "--preload"))
        assert eventually(old.exists, lambda there: not there) is False
