"""`prom-middleware bridge`, from every source to every system."""

from __future__ import annotations

import argparse
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from bridge.systems import Sink
from commands.programs import ask, start
from ports import free_port
from prom_middleware.cli import main
from prom_middleware.commands import bridge, sources
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
    done = ask("bridge", *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "cret" not in done.stderr
    assert "Traceback" not in done.stderr


class Listens:
    """What is done with a listener, in the place of one."""

    def __init__(self, done: list[Any], rules: Any, registry: Any, **options: Any) -> None:
        self.done = done
        done.append(("made", rules, options))

    def listen(self, **places: Any) -> Any:
        self.done.append(places)
        return SimpleNamespace(**places)

    def stop(self) -> None:
        self.done.append("heard all")


class Sends:
    """What is done with a bridge, in the place of one."""

    def __init__(self, done: list[Any], to: str, registry: Any, **options: Any) -> None:
        self.health = SimpleNamespace(to=to)
        self.done = done
        done.append((to, options))

    def start(self) -> None:
        self.done.append("started")

    def stop(self) -> None:
        self.done.append("sent the rest")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what the command does, up to its end, which comes at once."""
    done: list[Any] = []

    def interrupted(over: Any) -> None:
        raise KeyboardInterrupt(signal.SIGTERM)

    def served(port: int, host: str, registry: Any) -> Any:
        done.append((port, host))
        return SimpleNamespace(server_port=port), None

    for name in bridge.RECEIVERS:
        monkeypatch.setitem(bridge.RECEIVERS, name, partial(Listens, done))
    monkeypatch.setattr(bridge, "Bridge", partial(Sends, done))
    monkeypatch.setattr(bridge, "start_http_server", served)
    monkeypatch.setattr(bridge, "load_mapping", str.upper)
    monkeypatch.setattr(bridge, "wait", interrupted)
    return done


def test_what_came_in_last_is_sent_as_well(done: list[Any], capsys: Any) -> None:
    given = ["--from=statsd://", "--to=graphite://x", "--web.listen-address=:9102", "--tags"]
    options = ["--mapping=a.yml", "--max-series=7", "--interval=5", "--timeout=3", "--prefix=shop"]
    assert main(["bridge", *given, *options]) == 0
    place = ("0.0.0.0", 9125)
    sending = {"interval": 5.0, "timeout": 3.0, "tags": True, "prefix": "shop"}
    assert done == [
        ("made", "A.YML", {"max_series": 7}),
        {"udp": place, "tcp": place},
        ("graphite://x", sending),
        (9102, "0.0.0.0"),
        "started",
        "heard all",
        "sent the rest",
    ]
    assert capsys.readouterr().out.splitlines() == [
        "Listening for statsd on 0.0.0.0, port 9125",
        "Sending to graphite://x every 5 seconds",
        "Serving /metrics on 0.0.0.0, port 9102",
    ]


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("graphite://", ("0.0.0.0", 9109)),
        ("statsd://127.0.0.1", ("127.0.0.1", 9125)),
        ("graphite://[::1]:0", ("::1", 0)),
    ],
)
def test_where_it_listens(source: str, place: tuple[str, int], done: list[Any]) -> None:
    assert main(["bridge", "--from", source, "--web.listen-address=127.0.0.1:0"]) == 0
    assert done[1:3] == [{"udp": place, "tcp": place}, (0, "127.0.0.1")]


def test_what_a_bridge_does_without_being_told(done: list[Any]) -> None:
    assert main(["bridge", "--from=statsd://", "--to=graphite://x"]) == 0
    options = {"interval": 60.0, "timeout": 10.0, "tags": False, "prefix": ""}
    assert done[2] == ("graphite://x", options)


@pytest.mark.parametrize("kind", [ImportError, OSError, ValueError])
def test_what_is_missing_is_said(
    kind: type[Exception], done: list[Any], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*given: Any) -> None:
        raise kind("it is not here")

    monkeypatch.setattr(bridge, "start_http_server", missing)
    assert main(["bridge", "--from=statsd://", "--web.listen-address=:0"]) == 1
    assert capsys.readouterr().err == "prom-middleware bridge: it is not here\n"


def test_sources_may_have_the_same_names(monkeypatch: pytest.MonkeyPatch) -> None:
    counter, registry = Counter("calls", "help", registry=None), CollectorRegistry()
    monkeypatch.setattr(sources, "load_registry", lambda source: counter)
    for source in ("shop:calls", "pages:calls"):
        bridge.add_source(registry, source, argparse.Namespace(), [])
    assert [family.name for family in registry.collect()] == ["calls", "calls"]


def test_a_page_is_read_as_what_it_says_that_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def fetched(*given: Any) -> tuple[bytes, str]:
        asked.append(given)
        body = b'# TYPE calls counter\ncalls_total 3 # {id="a"} 1\n# EOF\n'
        return body, "application/openmetrics-text; version=1.0.0"

    monkeypatch.setattr(sources, "fetched", fetched)
    registry = CollectorRegistry()
    bridge.add_source(registry, "http://x/metrics", argparse.Namespace(timeout=3.0), [])
    assert registry.get_sample_value("calls_total") == 3
    assert set(asked) == {("http://x/metrics", 3.0, bridge.PAGE_TYPES)}


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
