"""`prom-middleware bridge`, from every source to every system."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from bridge.systems import Sink
from commands.programs import run, start
from ports import free_port
from prom_middleware.exposition import start_http_server
from waiting import becomes, eventually

MODULE = """
from prometheus_client import CollectorRegistry, Counter
registry = CollectorRegistry()
Counter("jobs", "help", ["kind"], registry=registry).labels("a b").inc(2)
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


@contextmanager
def running(*arguments: str, cwd: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    process = start(["bridge", *arguments], cwd)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        said, complained = process.communicate(timeout=60)
        assert process.returncode == 0, (said, complained)


def test_from_a_page_to_graphite(sink: Sink) -> None:
    registry = CollectorRegistry()
    Counter("calls", "help", ["path"], registry=registry).labels("/a b").inc(3)
    server, _ = start_http_server(0, "127.0.0.1", registry)
    source = f"http://127.0.0.1:{server.server_port}/metrics"
    with running("--from", source, "--to", sink.url, "--interval", "0.1", "--tags"):
        assert becomes(lambda: "calls_total;path=/a_b 3.0" in sink.lines, True)
        assert becomes(lambda: sink.lines.count("calls_total;path=/a_b 3.0") > 3, True)
    server.shutdown()
    server.server_close()


def test_from_a_module_to_graphite_with_a_prefix(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(MODULE)
    arguments = ["--from", "shop:registry", "--to", sink.url, "--prefix", "app"]
    with running(*arguments, cwd=tmp_path):
        assert becomes(lambda: "app.jobs_total.kind.a_b 2.0" in sink.lines, True)
    assert becomes(lambda: sink.lines.count("app.jobs_total.kind.a_b 2.0"), 2) == 2, "at the end"


def test_from_an_application_of_a_module(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "pages.py").write_text(
        "from prom_middleware import instrument\n"
        "from prometheus_client import Counter\n"
        "Counter('calls', 'help').inc(3)\n"
        "app = instrument(lambda environ, start_response: [])\n"
    )
    with running("--from", "pages:app", "--to", sink.url, cwd=tmp_path):
        assert becomes(lambda: "calls_total 3.0" in sink.lines, True)


def test_from_statsd_to_a_page_and_graphite(sink: Sink, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text('mappings: [{match: "calls.*", name: calls_total, labels: {of: $1}}]')
    statsd, graphite, page = free_port(), free_port(), free_port()
    arguments = [
        *("--from", f"statsd://127.0.0.1:{statsd}", "--from", f"graphite://127.0.0.1:{graphite}"),
        *("--mapping", str(rules), "--web.listen-address", f"127.0.0.1:{page}"),
        *("--to", sink.url, "--interval", "0.1"),
    ]
    with running(*arguments) as process:
        assert eventually(lambda: _said(process), lambda said: "Sending to" in said)
        with socket.create_connection(("127.0.0.1", statsd), 20) as connection:
            connection.sendall(b"calls.shop:3|c\n")
        with socket.create_connection(("127.0.0.1", graphite), 20) as connection:
            connection.sendall(b"a.b 5 -1\n")
        assert becomes(lambda: "calls_total.of.shop 3.0" in sink.lines, True)
        text = eventually(
            lambda: httpx.get(f"http://127.0.0.1:{page}/metrics", trust_env=False).text,
            lambda text: "a_b 5.0" in text,
        )
    assert 'calls_total{of="shop"} 3.0' in text
    assert "a_b 5.0" in text
    assert "prom_middleware_bridge_sent_samples_total" in text


def test_any_free_ports(sink: Sink) -> None:
    with running(
        "--from", "statsd://127.0.0.1:0", "--to", sink.url, "--interval", "0.1"
    ) as process:
        said = eventually(lambda: _said(process), lambda said: "Listening" in said)
        udp, tcp = re.findall(r"(?:UDP|TCP) port (\d+)", said)
        with socket.create_connection(("127.0.0.1", int(tcp)), 20) as connection:
            connection.sendall(b"calls:3|c\n")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.sendto(b"others:4|c\n", ("127.0.0.1", int(udp)))
        shown = {"calls_total 3.0", "others_total 4.0"}
        assert becomes(lambda: shown & set(sink.lines), shown) == shown


def _said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--from", "http://127.0.0.1:1/metrics"], 2, "--to or --web.listen-address is wanted"),
        (["--from", "ftp://x", "--to", "graphite://x"], 2, "ftp://x: neither a page's URL nor"),
        (["--from", "statsdd://joe:secret@x", "--to", "graphite://x"], 2, " statsdd://x: neither"),
        (["--from", "no_such_module", "--to", "graphite://x"], 1, "no_such_module"),
        (["--from", "statsd://127.0.0.1:1x", "--to", "graphite://x"], 2, "1x"),
        (
            ["--from", "statsd://:port", "--to", "graphite://x"],
            2,
            "argument --from: statsd://:port: ",
        ),
        (["--from", "http://[x", "--to", "graphite://x"], 2, "argument --from: http://[x: "),
        (["--from", "http://x", "--to", "ftp://x"], 2, "a bridge leads to one of these"),
        (["--from", "http://x", "--to", "nix://joe:secret@x"], 2, "'nix://x': a bridge"),
        (
            ["--from", "http://x", "--to", "graphite://joe:secret@x:9x"],
            2,
            " graphite://x:9x: in a ",
        ),
        (["--from", "http://joe:secret@x:9x", "--to", "graphite://x"], 2, "from: http://x:9x: "),
        (["--from", "http://x", "--to", "graphite://joe:se/cret@x:2003"], 2, "//x:2003: "),
        (["--from", "http://x", "--to", "joe:secret@x:2003"], 2, "'x:2003' has no host"),
        (["--from", "http://x", "--to", "carbon:2003"], 2, "no host: give graphite://carbon:2003"),
        (["--from", "x", "--to", "graphite://x", "--interval", "0"], 2, "--interval: 0 is not a"),
        (["--from", "x", "--web.listen-address=:0", "--timeout=-5"], 2, "--timeout: -5 is not a"),
        (["--from", "x", "--web.listen-address=:0", "--max-series=-5"], 2, "--max-series: -5 is"),
        (
            ["--from", "statsd://", "--to", "graphite://x", "--mapping", "none.yml"],
            1,
            "none.yml: the file cannot be read: No such file or directory",
        ),
        (["--from", "statsd://", "--to", "graphite://x", "--max-series", "0"], 2, "max_series=0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_said_in_a_line(arguments: list[str], code: int, said: str) -> None:
    done = run("bridge", *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "cret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_page_that_is_not_there_is_tried_again(sink: Sink) -> None:
    port = free_port()
    source = f"http://127.0.0.1:{port}/metrics"
    with running("--from", source, "--to", sink.url, "--interval", "0.1"):
        registry = CollectorRegistry()
        Counter("calls", "help", registry=registry).inc()
        server, _ = start_http_server(port, "127.0.0.1", registry)
        assert becomes(lambda: "calls_total 1.0" in sink.lines, True)
        server.shutdown()
        server.server_close()
