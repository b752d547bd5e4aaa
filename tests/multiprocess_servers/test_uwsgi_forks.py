"""uWSGI forks without Python's hooks: what is to be done in each child is done by its own."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from multiprocess_servers.kinds import beside_python
from multiprocess_servers.serving import launching, serving

pytestmark = pytest.mark.real

PROGRAM = """
import os
import prom_middleware.wsgi
from prometheus_client import REGISTRY, Counter
from prom_middleware.forks import in_child

# Now, and not before: what is counted is in memory.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ["DIRECTORY"]
calls = []
in_child(lambda: calls.append("called"))
counter = Counter("jobs", "J.")
counter.inc(5)


def install():
    from prom_middleware.multiprocess import install

    install()


def app(environ, start_response):
    install()
    start_response("200 OK", [("Content-Type", "text/plain")])
    shown = REGISTRY.get_sample_value("jobs_total")
    return [f"{len(calls)} {shown}".encode()]
"""


def answers(options: list[str], tmp_path: Path) -> set[str]:
    directory = tmp_path / "metrics"
    directory.mkdir()
    (tmp_path / "shop.py").write_text(PROGRAM)
    with launching(tmp_path / "log", DIRECTORY=str(directory)) as launch:
        command = [
            *(beside_python("uwsgi"), "--http-socket", f"127.0.0.1:{launch.port}", *options),
            *("--processes", "3", "--die-on-term", "--need-app", "--disable-logging"),
            *("--virtualenv", sys.prefix, "--pythonpath", str(tmp_path), "--module", "shop:app"),
        ]
        # Several at once: of requests that come one by one, the same worker may get all.
        with serving(launch, command, "/") as server, ThreadPoolExecutor(4) as clients:
            return set(clients.map(lambda _: server.client.get("/").text, range(100)))


@pytest.mark.parametrize("options", [[], ["--py-call-uwsgi-fork-hooks"]], ids=["uWSGI", "Python"])
def test_what_is_done_in_a_child_is_done_once(options: list[str], tmp_path: Path) -> None:
    assert answers(["--master", *options], tmp_path) == {"1 5.0"}


def test_a_child_of_the_first_worker_where_there_is_no_master(tmp_path: Path) -> None:
    assert {answer.partition(" ")[0] for answer in answers([], tmp_path)} == {"0", "1"}
