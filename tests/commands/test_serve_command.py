"""`python -m prom_middleware serve`."""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from commands.programs import ask, start
from prom_middleware.cli import main
from prom_middleware.commands import serve

MODULE = """\
from prometheus_client import CollectorRegistry, Gauge

registry = CollectorRegistry()
Gauge("of_registry", "It.", registry=registry).set(7)
"""
HASH = "$2y$04$LegdxMi5HOyI9OtDzQFrju9ImFJ68AD0cRl.xZkSoXMgc5z7uCQCq"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobs.py").write_text(MODULE)
    return tmp_path


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    listen = "--web.listen-address=127.0.0.1:0"
    process = start(["serve", "jobs:registry", listen, *arguments], cwd=folder)
    try:
        assert process.stdout is not None
        told = process.stdout.readline()
        yield process, f"http://127.0.0.1:{told.rpartition(' ')[2].strip()}/metrics"
    finally:
        process.kill()
        process.communicate(timeout=30)


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_until_it_is_told_to_end(folder: Path, number: int) -> None:
    with serving(folder) as (process, url):
        assert "of_registry 7.0" in get(url).text
        process.send_signal(number)
        assert process.wait(30) == 0


def test_a_web_config_file(folder: Path) -> None:
    (folder / "web.yml").write_text(f"basic_auth_users:\n  joe: {HASH}\n")
    with serving(folder, "--web.config.file", "web.yml") as (_, url):
        assert get(url).status_code == 401


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["nothing_there"], 1, "No module named"),
        (["jobs:registry", "--web.config.file=none.yml"], 1, "none.yml: the file cannot be read"),
        (["jobs:registry", "--web.listen-address=127.0.0.1"], 2, "is not [HOST]:PORT"),
        (["jobs:registry", "--web.listen-address=:99999"], 2, "99999"),
        (["jobs:registry", "--web.listen-address=/a:1/b"], 2, "is not [HOST]:PORT"),
    ],
)
def test_what_cannot_be_served(folder: Path, arguments: list[str], code: int, named: str) -> None:
    done = ask("serve", *arguments, cwd=folder)
    assert done.returncode == code
    assert named in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", [ImportError, OSError, ValueError])
def test_what_is_missing_is_said(
    kind: type[Exception], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*given: Any, **options: Any) -> None:
        raise kind("it is not here")

    monkeypatch.setattr(serve, "start_http_server", missing)
    assert main(["serve", "prometheus_client:REGISTRY"]) == 1
    assert capsys.readouterr().err == "prom-middleware serve: it is not here\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (":9100", ("0.0.0.0", 9100)),
        (":0", ("0.0.0.0", 0)),
        ("[::1]:9100", ("::1", 9100)),
        ("localhost:9100", ("localhost", 9100)),
    ],
)
def test_where_it_listens(text: str, place: tuple[str, int]) -> None:
    assert serve.address(text) == place
    assert serve.address(serve.written(place)) == place


@pytest.mark.parametrize("text", ["", "9100", ":9100/a", ":9100?a", "joe@:9100", "@:9100", ":-1"])
def test_what_is_no_place_to_listen(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        serve.address(text)


def test_a_port_in_use(folder: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        address = f"--web.listen-address=127.0.0.1:{one.getsockname()[1]}"
        done = ask("serve", "jobs:registry", address, cwd=folder)
    assert done.returncode == 1
    assert "in use" in done.stderr
