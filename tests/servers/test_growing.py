"""The page on growing: promtool takes its configurations, as the README's, and all of it runs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ports import free_port
from servers.support import HERE, python, running

pytestmark = pytest.mark.real

PAGE = HERE.parents[1] / "docs" / "growing.md"
README = HERE.parents[1] / "README.md"
BLOCK = re.compile(r"^```(\w+) (\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = BLOCK.findall(PAGE.read_text())
CHECKED = [
    (kind, text)
    for language, kind, text in (*BLOCKS, *BLOCK.findall(README.read_text()))
    if language == "yaml"
]
EXAMPLE = HERE.parents[1] / "examples" / "federation"
UP = re.compile("up, by data centre: a 2.00, b 1.00")


@pytest.mark.parametrize("number", range(len(CHECKED)))
def test_promtool_takes_what_is_to_be_copied(
    real_program: Callable[[str, str], str], tmp_path: Path, number: int
) -> None:
    kind, text = CHECKED[number]
    file = tmp_path / "copied.yml"
    file.write_text(text)
    command = [real_program("promtool", "prometheus"), "check", kind, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_configurations() -> None:
    assert len(CHECKED) > 5


@pytest.mark.parametrize("name", ["dc-a.yml", "global.yml", "payments.yml", "remote-write.yml"])
def test_files_that_the_page_names(name: str) -> None:
    assert (EXAMPLE / name).exists()
    assert name in PAGE.read_text()


def test_the_application(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    ((_, _, text),) = [block for block in BLOCKS if block[0] == "python"]
    (tmp_path / "application.py").write_text(text)
    port = free_port()
    command = python("-m", "uvicorn", "--app-dir", str(tmp_path), "application:app")
    with running([*command, "--port", str(port)], port) as server:
        answer = httpx.get(
            f"{server.url}/federate", params={"match[]": "python_info"}, trust_env=False
        )
    assert answer.status_code == 200
    assert 'python_info{datacenter="a",' in answer.text


@contextmanager
def whole_example(ends: signal.Signals) -> Iterator[Iterator[str]]:
    """Run the whole example, give its lines, and end it with that signal."""
    process = subprocess.Popen(
        python(str(EXAMPLE / "run.py")), stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert process.stdout is not None
    try:
        yield iter(process.stdout.readline, "")
    finally:
        process.send_signal(ends)
        rest = process.communicate(timeout=60)[0]
    assert process.returncode == 0, rest


def ports_of(lines: list[str]) -> list[int]:
    return [int(found[1]) for line in lines if (found := re.search(r":(\d+)/$", line))]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.timeout(300)
def test_the_whole_example_at_once(real_program: Callable[[str, str], str]) -> None:
    """It shows the sums of both data centres, and ends when it is told to, with all it started."""
    pytest.importorskip("fastapi")
    pytest.importorskip("flask")
    real_program("prometheus", "prometheus")
    shown: list[str] = []
    with whole_example(signal.SIGINT) as lines:
        while not any(UP.search(line) for line in shown):
            line = next(lines, "")
            assert line, shown
            shown.append(line)
    assert len(ports_of(shown)) == 4
    assert not any(map(answers, ports_of(shown)))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("ends", [signal.SIGTERM, signal.SIGHUP])
def test_ended_while_it_starts_it_leaves_no_server(
    ends: signal.Signals, real_program: Callable[[str, str], str]
) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("flask")
    real_program("prometheus", "prometheus")
    with whole_example(ends) as lines:
        first = next(lines)
    (port,) = ports_of([first])
    assert not answers(port)


def test_a_wrong_number_of_seconds() -> None:
    process = subprocess.run(
        python(str(EXAMPLE / "run.py")),
        env={**os.environ, "DEMO_SECONDS": "soon"},
        stderr=subprocess.PIPE,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr == "DEMO_SECONDS='soon' is not a number of 0 or more.\n"
