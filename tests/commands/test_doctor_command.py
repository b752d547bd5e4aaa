"""`python -m prom_middleware doctor`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commands.programs import ask, run

MODULE = """\
from prometheus_client import CollectorRegistry
from prom_middleware import basic_auth, instrument

registry = CollectorRegistry()

def hello(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]

bare = hello
opened = instrument(hello, registry=registry)
app = instrument(hello, access=basic_auth("prometheus", "secret"))

def create_app():
    return app

def configured(config=None, scope="", **more):
    return app

def decorated(*arguments):
    return app(*arguments)

def served(environ=None, start_response=None):
    return app(environ, start_response)

async def handled(scope=None, receive=None, send=None):
    raise LookupError(scope)

async def create_later():
    return app

class Shop:
    inner = app
"""
QUITS = """\
from shop import *

def quits(request):
    raise SystemExit(0)

app = instrument(hello, registry=CollectorRegistry(), access=quits)
"""
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text(MODULE)
    for name in (DIRECTORY, "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    "named",
    [
        *("shop", "shop:app", "shop:create_app", "shop:create_app()", "shop:configured"),
        "shop:Shop.inner",
    ],
)
def test_a_healthy_application(folder: Path, named: str) -> None:
    done = ask("doctor", named, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{named}: nothing was found\n"


def test_findings(folder: Path) -> None:
    done = run("doctor", "shop:bare", cwd=folder)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.splitlines() == [
        "no-door: no door of prom_middleware is there",
        "    mend: app = instrument(app)",
        "shop:bare: 1 finding",
    ]


def test_what_is_meant_to_be_so(folder: Path) -> None:
    assert ask("doctor", "shop:opened", cwd=folder).stdout.startswith("open-metrics: ")
    done = ask("doctor", "shop:opened", "--ignore=routes", "--ignore=open-metrics", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "shop:opened: nothing was found\n")


@pytest.mark.parametrize("name", ["decorated", "served", "handled"])
def test_what_a_server_calls_is_no_factory(folder: Path, name: str) -> None:
    assert ask("doctor", f"shop:{name}", cwd=folder).stdout.startswith("no-door: ")


def test_workers(folder: Path) -> None:
    done = ask("doctor", "shop", "--workers", "4", "--server", "mod_wsgi", cwd=folder)
    assert done.returncode == 2
    assert done.stdout.startswith("workers: 4 workers without a shared directory")
    assert ask("doctor", "shop", "--workers=4", "--server=uvicorn", cwd=folder).returncode == 0


def test_the_directory_of_the_workers_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = folder / "metrics"
    directory.mkdir()
    counter = "from prometheus_client import Counter\nCounter('orders', 'Orders.').inc()\n"
    (folder / "shop.py").write_text(counter + MODULE)
    monkeypatch.setenv(DIRECTORY, str(directory))
    done = run("doctor", "shop", "--workers=4", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(directory) == []
    monkeypatch.setenv(DIRECTORY, str(folder / "shop.py"))
    done = run("doctor", "shop", cwd=folder)
    assert done.returncode == 2
    assert done.stdout.startswith(f"workers: {DIRECTORY}={folder / 'shop.py'} is no directory")


@pytest.mark.parametrize("late", [False, True], ids=["in-time", "too-late"])
def test_an_application_that_names_the_directory_itself(folder: Path, late: bool) -> None:
    named = f"import os\nos.environ['{DIRECTORY}'] = os.getcwd() + '/metrics'\n"
    counter = "from prometheus_client import Counter\nCounter('orders', 'Orders.').inc()\n"
    (folder / "metrics").mkdir()
    (folder / "own.py").write_text(counter + named + MODULE if late else named + counter + MODULE)
    done = run("doctor", "own", cwd=folder)
    assert (done.returncode, done.stderr) == (2 if late else 0, "")
    assert ("early-metrics: orders: made before" in done.stdout) is late


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["nothing_there"], 1, "No module named 'nothing_there'"),
        (["shop:nothing"], 1, "has no attribute 'nothing'"),
        (["broken"], 1, "ZeroDivisionError"),
        (["wrong"], 1, "max_series=0"),
        (["shop:registry"], 1, "is no application"),
        (["shop:Shop"], 1, "is no application"),
        (["shop:create_later"], 1, "create_later: TypeError: it is asynchronous"),
        (["script"], 1, "script: it ends the program: SystemExit(0)"),
        (["quits"], 1, "quits: it ends the program: SystemExit(0)"),
        (["shop", "--ignore", "everything"], 2, "invalid choice: 'everything'"),
        (["empty"], 1, "empty has none of app, application"),
        (["shop", "--workers", "many"], 2, "invalid count value"),
        ([], 2, "required: application"),
    ],
    ids=[
        *("missing", "attribute", "broken", "option", "registry", "class"),
        *("asynchronous", "script", "quits", "ignored", "empty", "number", "nothing"),
    ],
)
def test_what_cannot_be_examined(folder: Path, arguments: list[str], code: int, named: str) -> None:
    (folder / "broken.py").write_text("1 / 0")
    (folder / "script.py").write_text("from shop import *\nraise SystemExit(0)")
    (folder / "quits.py").write_text(QUITS)
    (folder / "empty.py").write_text("")
    (folder / "wrong.py").write_text("from shop import *\napp = instrument(hello, max_series=0)")
    done = ask("doctor", *arguments, cwd=folder)
    assert done.returncode == code
    assert named in done.stderr
    assert "Traceback" not in done.stderr
