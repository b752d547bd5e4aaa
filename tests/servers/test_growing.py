"""The page on growing: promtool takes each of its configurations, and its application runs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from servers.support import HERE, free_port, python, running

pytestmark = pytest.mark.real

PAGE = HERE.parents[1] / "docs" / "growing.md"
BLOCKS = re.findall(r"^```(\w+) (\w+)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
CHECKED = [(kind, text) for language, kind, text in BLOCKS if language == "yaml"]
EXAMPLE = HERE.parents[1] / "examples" / "federation"


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
