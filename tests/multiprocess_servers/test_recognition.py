"""Workers find one directory for themselves, and only one that is theirs alone."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from metrics import Series, value
from multiprocess_servers.crowd import Crowd
from multiprocess_servers.kinds import KINDS
from multiprocess_servers.serving import (
    HERE,
    environment,
    launching,
    private_directories,
    serving,
    workers,
)
from servers.support import Server, python, stop
from waiting import becomes, eventually

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc"),
]

PRELOAD = ("--preload",)
PAGE = "/items"  # every page of the application tells who answered
REFUSED = {"cause": "store.directory"}


def gunicorn(port: int, *options: str, app: str = "pool_app:app") -> list[str]:
    address = f"127.0.0.1:{port}"
    return python("-m", "gunicorn", "--bind", address, "--workers", "2", *options, app)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(
    stack: ExitStack, base: Path, *options: str, app: str = "pool_app:app", **variables: str
) -> Server:
    """Start a gunicorn that has `base` for its temporary files."""
    launch = stack.enter_context(launching(base / "log", TMPDIR=str(base), **variables))
    return stack.enter_context(serving(launch, gunicorn(launch.port, *options, app=app)))


def counted(samples: Series, page: str) -> float:
    return value(samples, "http_requests_total", {"page": page})


def has(page: str, number: float, samples: Series) -> bool:
    return counted(samples, page) == number


def modes(directory: Path) -> Iterator[tuple[str, int]]:
    """Yield the names and modes of the files; other workers may be making some."""
    for path in directory.iterdir():
        with suppress(FileNotFoundError):
            yield path.name, stat.S_IMODE(path.stat().st_mode)


def live(server: Server) -> float:
    return value(server.metrics(), "prom_middleware_workers", {"state": "live"})


def ask_both_workers(server: Server) -> int:
    """Send requests until both workers have answered; return how many were sent."""
    crowd = Crowd(server.port)
    crowd.ask_all(2, PAGE)
    return crowd.answers


@pytest.mark.parametrize(
    "name",
    ["gunicorn-gthread", "gunicorn-uvicorn-preload", "uvicorn", "hypercorn", "granian", "uwsgi"],
)
def test_the_directory_is_named_by_the_server_and_nobody_else_gets_in(
    name: str, servers: ExitStack, tmp_path: Path
) -> None:
    launch = servers.enter_context(launching(tmp_path / "log", TMPDIR=str(tmp_path)))
    # Not four, of which each imports everything.
    fewer = ("--processes" if name == "uwsgi" else "--workers", "2")
    command = [*KINDS[name].arguments(launch.port), *fewer]
    server = servers.enter_context(serving(launch, command))
    server.client.get("/items")
    (found,) = private_directories(tmp_path)
    assert found.name.startswith(f"{server.process.pid}-")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (found, found.parent)] == [0o700] * 2
    assert found.stat().st_uid == os.getuid()
    files = dict(modes(found))
    assert set(files.values()) == {0o600}, files


@pytest.mark.parametrize(
    "program",
    [
        ("program.py", "uvicorn"),
        ("program.py", "hypercorn"),
        ("program_of_gunicorn.py",),
        ("program_of_granian.py",),
    ],
    ids=["uvicorn", "hypercorn", "gunicorn", "granian"],
)
def test_a_program_that_starts_its_server_itself_has_what_all_workers_count(
    program: tuple[str, ...], servers: ExitStack, tmp_path: Path
) -> None:
    tests = os.pathsep.join((str(HERE.parent), environment()["PYTHONPATH"]))
    variables = {"TMPDIR": str(tmp_path), "PYTHONPATH": tests}
    launch = servers.enter_context(launching(tmp_path / "log", **variables))
    command = python(*program, str(launch.port))
    server = servers.enter_context(serving(launch, command))
    sent = ask_both_workers(server)
    assert counted(eventually(server.metrics, partial(has, PAGE, sent)), PAGE) == sent


def test_a_process_that_starts_a_server_in_itself_is_no_worker(
    servers: ExitStack, tmp_path: Path
) -> None:
    launch = servers.enter_context(launching(tmp_path / "log", TMPDIR=str(tmp_path)))
    command = python("program.py", "process", str(launch.port))
    server = servers.enter_context(serving(launch, command))
    assert server.client.get(PAGE).status_code == 200
    assert not private_directories(tmp_path)


def test_two_servers_at_once_have_nothing_in_common(servers: ExitStack, tmp_path: Path) -> None:
    one, other = start(servers, tmp_path), start(servers, tmp_path)
    sent = [ask_both_workers(one), ask_both_workers(other)]
    for server, number in zip((one, other), sent, strict=True):
        # The last one is recorded after its answer has come.
        found = eventually(server.metrics, partial(has, PAGE, number))
        assert counted(found, PAGE) == number
        assert becomes(partial(live, server), 2) == 2
    assert len(private_directories(tmp_path)) == 2


def test_a_server_that_a_worker_of_another_starts_has_numbers_of_its_own(
    servers: ExitStack, tmp_path: Path
) -> None:
    outer = tmp_path / "outer"
    outer.mkdir(mode=0o700)
    server = start(servers, tmp_path, PROM_MIDDLEWARE_MULTIPROC_DIR=str(outer))
    sent = ask_both_workers(server)
    assert eventually(server.metrics, partial(has, PAGE, sent))
    assert len(private_directories(tmp_path)) == 1
    assert not list(outer.iterdir())


def replacement(server: Server) -> int:
    """Return the pid of the gunicorn that is beside `server`, once it has its workers; or 0."""
    found = (child for child in workers(server.process.pid) if len(workers(child)) == 2)
    return next(found, 0)


@pytest.mark.parametrize("options", [(), PRELOAD], ids=["", "preload"])
def test_a_gunicorn_that_replaces_another_goes_on_with_its_numbers(
    options: tuple[str, ...], servers: ExitStack, tmp_path: Path
) -> None:
    launch = servers.enter_context(launching(tmp_path / "log", TMPDIR=str(tmp_path)))
    # As a script: a gunicorn that was started with -m cannot start itself again.
    script = python(str(Path(sys.executable).with_name("gunicorn")))
    command = [*script, *gunicorn(launch.port, *options)[3:]]
    server = servers.enter_context(serving(launch, command))
    crowd = Crowd(server.port)
    crowd.ask_all(2, PAGE)
    server.process.send_signal(signal.SIGUSR2)
    after = eventually(partial(replacement, server), bool)
    crowd.ask_all(4, PAGE)
    found = eventually(server.metrics, partial(has, PAGE, crowd.answers))
    assert counted(found, PAGE) == crowd.answers
    stop(server.process)
    killed = workers(after)[0]
    os.kill(killed, signal.SIGTERM)  # its place is taken by one that has not seen the old master
    assert eventually(lambda: killed in workers(after), lambda there: not there) is False
    assert becomes(lambda: len(workers(after)), 2) == 2
    for _ in range(10):
        assert crowd.ask(PAGE)
    found = eventually(server.metrics, partial(has, PAGE, crowd.answers))
    assert counted(found, PAGE) == crowd.answers
    assert becomes(partial(live, server), 2) == 2


@pytest.mark.parametrize(
    ("app", "options"),
    [("pool_app:app", ()), ("pool_app:app", PRELOAD), ("late_app:app", PRELOAD)],
)
def test_the_main_thread_of_gevents_workers_goes_by_another_number(
    app: str, options: tuple[str, ...], servers: ExitStack, tmp_path: Path
) -> None:
    pytest.importorskip("gevent", reason="gevent is not installed")
    server = start(servers, tmp_path, "--worker-class", "gevent", *options, app=app)
    sent = ask_both_workers(server)
    found = eventually(server.metrics, partial(has, PAGE, sent))
    assert counted(found, PAGE) == sent
    assert becomes(partial(live, server), 2) == 2
    assert len(private_directories(tmp_path)) == 1


def test_a_server_that_is_started_again_begins_at_zero_and_clears_up(
    servers: ExitStack, tmp_path: Path
) -> None:
    with ExitStack() as first:
        ask_both_workers(start(first, tmp_path))
        (old,) = private_directories(tmp_path)
    server = start(servers, tmp_path)
    assert counted(server.metrics(), PAGE) == 0
    # Another worker may be in the middle of removing it.
    found = eventually(lambda: private_directories(tmp_path), lambda found: len(found) == 1)
    assert len(found) == 1
    assert old not in found


def test_off_leaves_every_worker_alone(servers: ExitStack, tmp_path: Path) -> None:
    server = start(servers, tmp_path, PROM_MIDDLEWARE_MULTIPROC="off")
    sent = ask_both_workers(server)
    assert private_directories(tmp_path) == []
    assert 0 < counted(server.metrics(), PAGE) < sent
    assert live(server) == 1


# Each of them with each of the others.
@pytest.mark.parametrize(
    ("given", "method", "options"),
    [
        pytest.param(False, "fork", PRELOAD, id="private-fork-preload"),
        pytest.param(False, "spawn", (), id="private-spawn"),
        pytest.param(True, "fork", (), id="given-fork"),
        pytest.param(True, "spawn", PRELOAD, id="given-spawn-preload"),
    ],
)
def test_a_pool_of_processes_inside_a_worker_records_in_the_same_directory(
    given: bool, method: str, options: tuple[str, ...], servers: ExitStack, tmp_path: Path
) -> None:
    where = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")} if given else {}
    server = start(servers, tmp_path, *options, **where)
    for _ in range(2):
        assert server.client.get(f"/pool/{method}").status_code == 200
    samples = eventually(server.metrics, partial(has, f"/pool/{method}", 2))
    assert counted(samples, f"/pool/{method}") == 2
    assert counted(samples, f"/in-a-{method}") == 2
    assert value(samples, "prom_middleware_errors_total") == 0
    assert len(private_directories(tmp_path)) == (0 if given else 1)


def symlink(base: Path) -> None:
    (base / "elsewhere").mkdir(mode=0o700)
    (base / f"prom_middleware-{os.getuid()}").symlink_to(base / "elsewhere")


def foreign(base: Path) -> None:
    if os.getuid():
        pytest.skip("only root can make what is somebody else's")
    (base / f"prom_middleware-{os.getuid()}").mkdir(mode=0o700)
    os.chown(base / f"prom_middleware-{os.getuid()}", 65534, 65534)


def readable(base: Path) -> None:
    (base / f"prom_middleware-{os.getuid()}").mkdir()
    (base / f"prom_middleware-{os.getuid()}").chmod(0o755)


def file(base: Path) -> None:
    (base / f"prom_middleware-{os.getuid()}").write_text("not a directory")


@pytest.mark.parametrize(
    ("obstacle", "options"),
    [(symlink, ()), (symlink, PRELOAD), (foreign, PRELOAD), (readable, ()), (file, PRELOAD)],
)
def test_what_is_in_the_way_is_refused_and_counted_and_requests_succeed(
    obstacle: Callable[[Path], None],
    options: tuple[str, ...],
    servers: ExitStack,
    tmp_path: Path,
) -> None:
    obstacle(tmp_path)
    server = start(servers, tmp_path, *options)
    ask_both_workers(server)
    assert value(server.metrics(), "prom_middleware_errors_total", REFUSED) == 1
    assert private_directories(tmp_path) == []


FIND = """
import os, sys
from prom_middleware.stores.multiprocess.directory import private_directory
print(private_directory(int(sys.argv[1])))
"""


def find(base: Path, server: int) -> str:
    """Return the directory of a server, as one of its workers finds it."""
    command = python("-c", FIND, str(server))
    done = subprocess.run(
        command,
        cwd=HERE,
        env=environment(TMPDIR=str(base)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.strip() or done.stderr


def test_a_symbolic_link_of_the_right_name_is_refused(tmp_path: Path) -> None:
    found = Path(find(tmp_path, os.getpid()))
    found.rmdir()
    found.symlink_to(tmp_path)
    assert "PermissionError" in find(tmp_path, os.getpid())
    assert found.is_symlink()


def test_a_pid_that_is_used_again_is_another_server(tmp_path: Path) -> None:
    found = Path(find(tmp_path, os.getpid()))
    pid, started, space = found.name.split("-")
    before = found.rename(found.with_name(f"{pid}-{int(started) - 1}-{space}"))
    (before / "numbers").write_text("of the server that had the pid before")
    elsewhere = found.with_name(f"{pid}-{int(started) - 1}-{int(space) + 1}")
    elsewhere.mkdir()
    again = Path(find(tmp_path, os.getpid()))
    assert again == found
    assert list(again.iterdir()) == []
    assert not before.exists()
    # Another container's: nobody here can tell whether its server lives.
    assert elsewhere.exists()
