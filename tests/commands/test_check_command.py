"""`python -m prom_middleware check`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from commands.programs import ask, run
from prom_middleware.exposition import start_http_server

RIGHT = "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\njobs_total 3\n"
WRONG = '# TYPE jobCount gauge\njobCount{le="1"} 3\n'
REMARKS = """\
jobCount metric names should be written in 'snake_case' not 'camelCase'
jobCount no help text
jobCount non-histogram metrics should not have "le" label
"""
BROKEN = "jobs_total 3\njobs_total x\n"
ERROR = 'text format parsing error in line 2: expected float as value, got "x"'
APPS = """\
from prometheus_client import CollectorRegistry, Counter

from prom_middleware import instrument


def hello(environ, start_response):
    start_response("404 Not Found", [])
    return [b"nothing"]


async def greet(scope, receive, send):
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def broken(environ, start_response):
    raise RuntimeError("not today")


registry = CollectorRegistry()
Counter("jobs", "Jobs.", registry=registry)
bare = hello
wsgi = instrument(hello, registry=registry)


def create_app(config=None):
    return wsgi


asgi = instrument(greet, registry=CollectorRegistry())
number = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"right": RIGHT, "wrong": WRONG, "broken": BROKEN}.items():
        (tmp_path / f"{name}.prom").write_text(text)
    (tmp_path / "shop.py").write_text(APPS)
    return tmp_path


@pytest.mark.parametrize(
    ("page", "code", "said"),
    [(RIGHT, 0, ""), (WRONG, 3, REMARKS), (BROKEN, 1, f"error while linting: {ERROR}\n")],
    ids=("right", "wrong", "broken"),
)
def test_standard_input(page: str, code: int, said: str) -> None:
    done = run("check", text=page)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


def test_a_file(folder: Path) -> None:
    done = ask("check", "wrong.prom", cwd=folder)
    assert (done.returncode, done.stderr) == (3, REMARKS)


def test_a_pipe_with_a_name() -> None:
    # As a shell makes one of `check <(curl ...)`.
    done = run("check", "/dev/stdin", text=WRONG)
    assert (done.returncode, done.stderr) == (3, REMARKS)


@pytest.fixture
def url() -> Iterator[str]:
    registry = CollectorRegistry()
    Counter("jobs", "Jobs.", registry=registry)
    server, _ = start_http_server(0, "127.0.0.1", registry)
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()


def test_a_url(url: str) -> None:
    done = ask("check", url, "--extended")
    assert (done.returncode, done.stderr) == (0, "")
    assert "jobs_total " in done.stdout


@pytest.mark.parametrize("name", ["wsgi", "asgi", "registry", "create_app"])
def test_an_application_in_this_process(folder: Path, name: str) -> None:
    done = ask("check", f"shop:{name}", "--format=json", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["error"], found["problems"]) == (None, [])
    metrics = {one["metric"] for one in found["cardinality"]}
    assert ("jobs_total" if name == "registry" else "prom_middleware_workers") in metrics


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("shop:bare", "shop:bare: /metrics is answered with 404; is it instrumented?"),
        ("shop:broken", "shop:broken: RuntimeError: not today"),
        ("shop:number", "3 is neither an application of ASGI, WSGI or Twisted nor a registry"),
        ("shop:nothing", "shop:nothing: AttributeError"),
        ("nothing:app", "nothing:app: ModuleNotFoundError"),
        ("nothing.prom", "nothing.prom: there is no such file"),
        ("http://127.0.0.1:1/metrics", "http://127.0.0.1:1/metrics: "),
    ],
)
def test_what_cannot_be_had(folder: Path, source: str, said: str) -> None:
    done = ask("check", source, cwd=folder)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_json(folder: Path) -> None:
    found: Any = json.loads(
        ask("check", "wrong.prom", "--format=json", "--extended", cwd=folder).stdout
    )
    assert found["exit_code"] == 3
    assert [one["rule"] for one in found["problems"]] == ["camel-case", "help", "reserved-label"]
    assert found["problems"][2]["line"] == 2
    assert found["cardinality"][0] == {
        "metric": "jobCount",
        "series": 1,
        "share": 1.0,
        "label": "le",
        "values": 1,
    }
    found = json.loads(ask("check", "broken.prom", "--format=json", cwd=folder).stdout)
    assert found["error"] == {
        "message": ERROR,
        "line": 2,
        "column": 12,
        "expected": "a decimal number, NaN, +Inf or -Inf",
    }


def test_github(folder: Path) -> None:
    done = ask("check", "wrong.prom", "--format=github", cwd=folder)
    assert done.stdout.splitlines()[1:] == [
        "::warning file=wrong.prom,line=2,title=help::jobCount no help text",
        (
            "::warning file=wrong.prom,line=2,title=reserved-label::"
            'jobCount non-histogram metrics should not have "le" label'
        ),
    ]
    done = ask("check", "broken.prom", "--format=github", cwd=folder)
    assert done.stdout == f"::error file=broken.prom,line=2,col=12,title=check::{ERROR}\n"


def test_the_rules_can_be_chosen() -> None:
    page = "# HELP a_total a\n# TYPE a_total counter\na_total -1\n"
    assert ask("check", text=page).returncode == 3
    assert ask("check", "--lint=promtool", text=page).returncode == 0
    done = ask("check", "--lint=none", "--extended", text=WRONG)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].split() == [
        *("Metric", "Cardinality", "Percentage", "Label", "(values)")
    ]


def test_the_limit_of_series_and_names_in_quotes() -> None:
    page = '# HELP a a\n# TYPE a gauge\na{x="1"} 1\na{x="2"} 1\n'
    assert "high cardinality" in ask("check", "--max-series=1", text=page).stderr
    page = '# HELP "a.b" a\n# TYPE "a.b" gauge\n{"a.b"} 1\n'
    assert ask("check", text=page).returncode == 1
    assert ask("check", "--utf8-names", text=page).returncode == 0
