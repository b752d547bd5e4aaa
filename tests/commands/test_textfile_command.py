"""`python -m prom_middleware textfile`."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from commands.programs import COMMAND, ask, run, start
from prom_middleware.commands.checking import problem
from prom_middleware.exposition import start_http_server
from push.gateways import listening
from waiting import eventually

TEXT = "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\njobs_total 3\n# a comment\n"
MODULE = """\
from prometheus_client import CollectorRegistry, Counter, Gauge, Metric

registry = CollectorRegistry()
Gauge("of_registry", "It.", registry=registry).set(7)
Counter("of_default", "It.").inc()
number = 3


class Broken:
    def collect(self):
        raise RuntimeError("not today")


class Factories:
    def make():
        return registry


class Odd:
    def __init__(self, labels, time):
        self.sample = {"name": "a", "labels": labels, "value": 1, "timestamp": time}

    def collect(self):
        family = Metric("a", "A.", "gauge")
        family.add_sample(**self.sample)
        return [family]


broken = Broken()
reserved = Odd({"__x": "1"}, None)
timed = Odd({}, 1700000000)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobs.py").write_text(MODULE)
    (tmp_path / "old.prom").write_text("old 1\n")
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"jobs.py", "__pycache__"}


def test_standard_input(folder: Path) -> None:
    done = run("textfile", "--output", "old.prom", cwd=folder, text=TEXT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    target = folder / "old.prom"
    assert target.read_text() == TEXT, "as it is"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert names(folder) == {"old.prom"}


def test_the_last_line_gets_its_end(folder: Path) -> None:
    """node_exporter refuses a file without it."""
    assert ask("textfile", "-o", "old.prom", "-", cwd=folder, text="a 1").returncode == 0
    assert (folder / "old.prom").read_text() == "a 1\n"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no metrics"),
        ("# only a comment\n", "no metrics"),
        ("a\n", "not the text format"),
        ("a b c\n", "not the text format"),
        ("bash: jobs: command not found\n", "not the text format"),
        ('a{b="c} 1\n', "not the text format"),
        ('a{b="c"} 1\na{b="d"} 1\na{b="c"} 2\n', "twice"),
        ("a 1\na 1\n", "twice"),
        ("a 1 1700000000000\n", "a has a timestamp"),
        ("a 1 \n", "line 1: expected integer as timestamp"),
        ('a{b="c"} 1\t\n', "line 1: expected integer as timestamp"),
        ("# TYPE a gauge \na 1\n", "line 1: unknown metric type"),
        ('a 1\na{b=""} 2\n', "twice"),
        ('a{b="",c="d"} 1\na{c="d"} 2\n', "twice"),
        ('a{__x="1"} 1\n', "a has the label __x"),
        ('{"a.b"} 1\n', "line 1: invalid metric name"),
        # These it takes, and shows 2**64 and 2**63 instead.
        ("# TYPE a summary\na_count -1\na_sum 0\n", "line 2: expected a count, got -1"),
        ("# TYPE a histogram\na_count NaN\na_sum 0\n", "line 2: expected a count, got nan"),
    ],
)
def test_what_node_exporter_would_refuse(folder: Path, text: str, named: str) -> None:
    done = ask("textfile", "-o", "old.prom", cwd=folder, text=text)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("prom-middleware textfile: standard input: ")
    assert named in done.stderr
    assert (folder / "old.prom").read_text() == "old 1\n"
    assert names(folder) == {"old.prom"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a 1 0\n", "a has a timestamp"),
        ("b 1\na 1 1700000000000\n", "a has a timestamp"),
        ('b 1\na{__x="1"} 1\n', "a has the label __x"),
        ("a 1\nb 1\na 1\n", "is there twice"),
    ],
)
def test_a_line_is_refused_wherever_it_stands(text: str, named: str) -> None:
    assert named in str(problem(text.encode()))


def test_bytes_that_are_no_text(folder: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "textfile", "-o", "old.prom"],
        input=b'a{b="\xff"} 1\n',
        cwd=folder,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert b"not UTF-8" in done.stderr


@pytest.mark.parametrize(
    ("source", "sample"),
    [
        ("jobs:registry", "of_registry 7.0"),
        ("jobs:Factories.make", "of_registry 7.0"),
        ("jobs", "of_default_total 1.0"),
    ],
)
def test_modules(folder: Path, source: str, sample: str) -> None:
    assert ask("textfile", "-o", "old.prom", source, cwd=folder).returncode == 0
    lines = (folder / "old.prom").read_text().splitlines()
    assert sample in lines
    assert ("of_default_total 1.0" in lines) == (source == "jobs")


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("jobs:reserved", "a has the label __x"),
        ("jobs:timed", "a has a timestamp"),
        ("nothing_there", "No module named 'nothing_there'"),
        ("jobs:nothing", "nothing"),
        ("jobs:number", "3 is neither a registry nor a collector"),
        ("prometheus_client:CollectorRegistry", "is neither a registry nor a collector"),
        ("jobs:broken", "RuntimeError: not today"),
        ("http://127.0.0.1:1/", "Connection refused"),
        ("http://[", "http://["),
    ],
)
def test_sources_that_are_none(folder: Path, source: str, named: str) -> None:
    done = ask("textfile", "-o", "old.prom", source, cwd=folder)
    assert done.returncode == 1
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert (folder / "old.prom").read_text() == "old 1\n"


@pytest.fixture
def served() -> Iterator[str]:
    registry = CollectorRegistry()
    Counter("served", "Served.", registry=registry).inc()
    server, thread = start_http_server(0, "127.0.0.1", registry)
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_a_url(folder: Path, served: str) -> None:
    assert ask("textfile", "-o", "old.prom", served, cwd=folder).returncode == 0
    assert "served_total 1.0" in (folder / "old.prom").read_text().splitlines()


def test_a_url_that_does_not_answer(folder: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        done = ask("textfile", "-o", "old.prom", "--timeout", "0.3", url, cwd=folder)
    assert done.returncode == 1
    assert "timed out" in done.stderr
    assert (folder / "old.prom").read_text() == "old 1\n"


def test_printing(folder: Path) -> None:
    assert run("textfile", "-o", "-", cwd=folder, text=TEXT).stdout == TEXT


def test_a_name_that_node_exporter_does_not_read(folder: Path) -> None:
    done = ask("textfile", "-o", "my.txt", cwd=folder, text=TEXT)
    assert done.returncode == 0
    assert "reads *.prom only" in done.stderr
    assert (folder / "my.txt").read_text() == TEXT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("errors", ["2>/dev/full", "2>&-"])
def test_a_remark_that_cannot_be_told(folder: Path, errors: str) -> None:
    command = [*COMMAND, "textfile", "-o", "my.txt"]
    done = subprocess.run(
        ["bash", "-c", f'exec "$@" {errors}', "bash", *command],
        input=TEXT,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert (folder / "my.txt").read_text() == TEXT


@pytest.mark.parametrize("target", ["/dev/null", "none/my.prom", "."])
def test_a_target_that_is_none(folder: Path, target: str) -> None:
    done = ask("textfile", "-o", target, cwd=folder, text=TEXT)
    assert done.returncode == 1
    assert target in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("number", ["0", "-1", "often", "nan"])
def test_intervals_that_are_none(number: str) -> None:
    assert ask("textfile", "-o", "-", "--interval", number, "jobs").returncode == 2


def test_an_interval_needs_a_source_that_stays(folder: Path) -> None:
    done = ask("textfile", "-o", "old.prom", "--interval", "1", cwd=folder, text=TEXT)
    assert done.returncode == 2
    assert "only once" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_again_and_again_until_stopped(folder: Path, served: str, number: int) -> None:
    target = folder / "old.prom"
    process = start(["textfile", "-o", "old.prom", "--interval", "0.05", served], cwd=folder)
    try:
        assert "served_total" in eventually(target.read_text, lambda text: "served_total" in text)
        target.unlink()
        assert eventually(target.exists, bool), "written anew"
    finally:
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")
    assert names(folder) == {"old.prom"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_nor_do_failures_that_cannot_be_told(folder: Path) -> None:
    failed = [b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"] * 3
    page = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nserved_total 1\n"

    def behave(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(failed.pop() if failed else page)

    script, target = 'exec "$@" 2>/dev/full', folder / "old.prom"
    with listening(behave) as (address, _):
        given = ["textfile", "-o", "old.prom", "--interval", "0.05", f"http://{address}/"]
        process = start(given, folder, lambda command: ["sh", "-c", script, "sh", *command])
        try:
            text = eventually(target.read_text, lambda text: "served_total" in text)
            assert (text, failed, process.poll()) == ("served_total 1\n", [], None)
        finally:
            process.terminate()
            process.communicate(timeout=30)


MAKES = """\
from prometheus_client import CollectorRegistry, Counter

calls = []


def make():
    registry = CollectorRegistry()
    calls.append(registry)
    Counter("calls", "Calls.", registry=registry).inc(len(calls))
    return registry
"""


def test_a_function_is_called_each_time(folder: Path) -> None:
    (folder / "makes.py").write_text(MAKES)
    target = folder / "old.prom"
    process = start(["textfile", "-o", "old.prom", "--interval", "0.05", "makes:make"], cwd=folder)
    try:
        found = eventually(target.read_text, lambda text: "calls_total 2.0" in text)
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert "calls_total 2.0" in found


def test_failures_do_not_end_an_interval(folder: Path) -> None:
    process = start(
        ["textfile", "-o", "old.prom", "--interval", "0.05", "http://127.0.0.1:1/"], cwd=folder
    )
    try:
        assert process.stderr is not None
        lines: Any = [process.stderr.readline() for _ in range(2)]
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert all("refused" in line for line in lines)
    assert process.returncode == 0
    assert (folder / "old.prom").read_text() == "old 1\n"
