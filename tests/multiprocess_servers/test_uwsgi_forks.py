"""uWSGI forks without Python's hooks: what is to be done in each child is done by its own."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import pytest

from multiprocess_servers.kinds import beside_python
from multiprocess_servers.serving import launching, serving
from servers.support import Server
from waiting import eventually

pytestmark = pytest.mark.real

PROGRAM = """
import os
import uwsgi
{before}
import prom_middleware.wsgi
from prometheus_client import REGISTRY, Counter
from prom_middleware.forks import in_child

# Now, and not before: what is counted is in memory.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ["DIRECTORY"]
calls = []
in_child(lambda: calls.append("renewed"))
counter = Counter("jobs", "J.")
counter.inc(5)


def install():
    from prom_middleware.multiprocess import install

    install()


def app(environ, start_response):
    install()
    start_response("200 OK", [("Content-Type", "text/plain")])
    shown = REGISTRY.get_sample_value("jobs_total")
    return [f"{{os.getpid()}} {{'+'.join(calls)}} {{shown}}".encode()]
"""
# What an application may have there before us.
DECORATED = """
from uwsgidecorators import postfork
postfork(lambda: calls.append("theirs"))
"""
OVERRIDDEN = """
import uwsgidecorators
uwsgi.post_fork_hook = lambda: calls.append("theirs")
"""
PLAIN = """
uwsgi.post_fork_hook = lambda: calls.append("theirs")
uwsgi.spooler = spooler = lambda environ: uwsgi.SPOOL_OK
uwsgi.mule_msg_hook = told = lambda message: None
"""
SPOOLED = """
assert uwsgi.spooler is spooler
assert uwsgi.mule_msg_hook is told
"""


Told = set[tuple[str, str, str]]


def told(options: list[str], tmp_path: Path, before: str = "", after: str = "") -> Told:
    """Return what several workers tell: who they are, what was called, and a number."""
    directory = tmp_path / "metrics"
    directory.mkdir()
    (tmp_path / "shop.py").write_text(PROGRAM.format(before=before) + after)
    with launching(tmp_path / "log", DIRECTORY=str(directory)) as launch:
        command = [
            *(beside_python("uwsgi"), "--http-socket", f"127.0.0.1:{launch.port}", *options),
            *("--processes", "3", "--die-on-term", "--need-app", "--disable-logging"),
            *("--virtualenv", sys.prefix, "--pythonpath", str(tmp_path), "--module", "shop:app"),
        ]
        with serving(launch, command, "/") as server:
            found = eventually(partial(asked, server), several)
    assert several(found)
    return found


def several(found: Told) -> bool:
    return len({pid for pid, _, _ in found}) > 1


def asked(server: Server) -> Told:
    # Several at once: of requests that come one by one, the same worker may get all.
    with ThreadPoolExecutor(4) as clients:
        answers = {answer for answer in clients.map(ask, [server] * 100) if answer is not None}
    return {(pid, calls, shown) for pid, calls, shown in (one.split(" ") for one in answers)}


def ask(server: Server) -> str | None:
    # On a busy machine, uWSGI closes one connection of 2,000 without an answer, with or without us.
    with suppress(httpx.RemoteProtocolError):
        return server.client.get("/").text
    return None


@pytest.mark.parametrize("options", [[], ["--py-call-uwsgi-fork-hooks"]], ids=["uWSGI", "Python"])
def test_what_is_done_in_a_child_is_done_once(options: list[str], tmp_path: Path) -> None:
    workers = told(["--master", *options], tmp_path)
    assert {(calls, shown) for _, calls, shown in workers} == {("renewed", "5.0")}


def test_the_first_worker_is_no_child_where_there_is_no_master(tmp_path: Path) -> None:
    workers = {(pid, calls) for pid, calls, _ in told([], tmp_path)}
    assert sorted({calls for _, calls in workers}) == ["", "renewed"]
    assert [calls for _, calls in workers].count("") == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [(DECORATED, ""), (OVERRIDDEN, ""), (PLAIN, SPOOLED)],
    ids=["decorators", "another", "attributes"],
)
def test_what_an_application_does_there_comes_after_it(
    before: str, after: str, tmp_path: Path
) -> None:
    workers = told(["--master"], tmp_path, before, after)
    assert {(calls, shown) for _, calls, shown in workers} == {("renewed+theirs", "5.0")}
