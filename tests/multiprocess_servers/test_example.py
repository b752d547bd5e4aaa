"""The example for gunicorn, as its docstring says, and one of its workers killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from metrics import value
from multiprocess_servers.serving import HERE, Launch, launching, private_directories, serving
from servers.support import Server, python
from waiting import becomes

pytestmark = pytest.mark.real

EXAMPLE = HERE.parents[1] / "examples" / "gunicorn"
ITEM = {"route": "/items/<int:item_id>"}


def gunicorn(launch: Launch) -> list[str]:
    address = f"127.0.0.1:{launch.port}"
    options = ("--bind", address, "--workers", "4", "--chdir", str(EXAMPLE))
    return python("-m", "gunicorn", *options, "app:app")


def counted(server: Server) -> float:
    return value(server.metrics(), "http_requests_total", ITEM)


def test_numbers_outlive_a_worker(tmp_path: Path) -> None:
    with launching(tmp_path / "log", TMPDIR=str(tmp_path)) as launch:
        with serving(launch, gunicorn(launch)) as server:
            statuses = [server.client.get(f"/items/{number}").status_code for number in (7, 8, 500)]
            assert statuses == [200, 200, 404]
            os.kill(int(server.client.get("/worker").text), signal.SIGKILL)
            assert becomes(lambda: counted(server), 3) == 3
            assert server.client.get("/items/9").status_code == 200
            assert becomes(lambda: counted(server), 4) == 4
        assert len(private_directories(tmp_path)) == 1


def test_a_process_of_its_own_answers_scrapes(tmp_path: Path) -> None:
    where = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}
    with (
        launching(tmp_path / "log", **where) as shop,
        launching(tmp_path / "log of scrapes", **where) as scrapes,
        serving(shop, gunicorn(shop)) as server,
    ):
        command = python(str(EXAMPLE / "app.py"), "--port", str(scrapes.port))
        with serving(scrapes, command) as shown:
            assert server.client.get("/items/7").status_code == 200
            assert becomes(lambda: counted(shown), 1) == 1
