"""The application in another server, the gateway's metrics of itself, and the documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.programs import environment, run
from prom_middleware.pushgateway import make_asgi_app
from pushgateway.gateways import RECORDED, Client, Mounted, served
from waiting import eventually

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "pushgateway.md"
PROGRAM = """\
import sys
import uvicorn
from prom_middleware.pushgateway import make_asgi_app

app = make_asgi_app(persistence_file=sys.argv[1], max_body_bytes=1000)
config = uvicorn.Config(app, port=0, log_level="info")
uvicorn.Server(config).run()
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    pytest.importorskip("uvicorn")
    path = tmp_path_factory.mktemp("uvicorn") / "groups.db"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)],
        env=environment(),
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert process.stderr is not None
        told = next(line for line in process.stderr if "running on" in line)
        with Client(int(re.findall(r":(\d+)", told)[-1])) as found:
            yield found
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.real
def test_in_uvicorn(client: Client) -> None:
    assert client("PUT", "/metrics/job/j/x/%CE%A0", "a 1\n").status == 200
    assert 'a{instance="",job="j",x="Π"} 1\n' in client("GET", "/metrics").text
    assert client("PUT", "/metrics/job/j/p/%FF", "a 1\n").status == 400
    assert client("PUT", "/metrics/job/j//x/1").headers["location"] == "/metrics/job/j/x/1"
    assert client("PUT", "/metrics/job/j", b"#" * 1001).status == 413
    assert client("GET", "/metrics").status == 200


def own(send: Client | Mounted, name: str) -> list[str]:
    text = send("GET", "/metrics").text
    return [line for line in text.splitlines() if line.startswith(name)]


def test_the_gateway_counts_what_it_does() -> None:
    send = Mounted(make_asgi_app())
    send("PUT", "/metrics/job/j", "a 1\n")
    send("PUT", "/metrics/job/j", "a\n")
    send("POST", "/metrics/job/j", "a 1\n")
    send("DELETE", "/metrics/job/j")
    send("GET", "/api/v1/status")
    assert own(send, "pushgateway_http_requests_total") == [
        'pushgateway_http_requests_total{code="200",handler="api/v1/status",method="get"} 1',
        'pushgateway_http_requests_total{code="200",handler="push",method="post"} 1',
        'pushgateway_http_requests_total{code="200",handler="push",method="put"} 1',
        'pushgateway_http_requests_total{code="202",handler="delete",method="delete"} 1',
        'pushgateway_http_requests_total{code="400",handler="push",method="put"} 1',
    ]
    assert own(send, "pushgateway_http_push_size_bytes") == [
        'pushgateway_http_push_size_bytes_sum{method="post"} 4',
        'pushgateway_http_push_size_bytes_count{method="post"} 1',
        'pushgateway_http_push_size_bytes_sum{method="put"} 6',
        'pushgateway_http_push_size_bytes_count{method="put"} 2',
    ]
    assert len(own(send, "pushgateway_build_info{")) == 1
    assert own(send, "process_start_time_seconds ") or sys.platform != "linux"


def test_a_pushed_family_of_ours_stands_with_ours() -> None:
    send = Mounted(make_asgi_app())
    body = "# HELP process_open_fds Mine.\n# TYPE process_open_fds gauge\nprocess_open_fds 5\n"
    assert send("PUT", "/metrics/job/j", body).status == 200
    lines = [line for line in send("GET", "/metrics").text.splitlines() if "process_open" in line]
    assert lines[0] == "# HELP process_open_fds Number of open file descriptors."
    assert lines[1] == "# TYPE process_open_fds gauge"
    assert lines[-1] == 'process_open_fds{instance="",job="j"} 5'
    body = "# TYPE process_open_fds counter\nprocess_open_fds 5\n"
    reply = send("PUT", "/metrics/job/j", body)
    assert (reply.status, "has type COUNTER but should have GAUGE" in reply.text) == (400, True)


def test_every_documented_flag_is_one() -> None:
    known = run("pushgateway", "--help").stdout
    flags = set(re.findall(r"--(?:web|push|persistence)\.[a-z0-9-]+(?:\.[a-z]+)?", documentation()))
    assert flags
    assert {flag for flag in flags if flag not in known} == {"--persistence.interval"} & flags


def documentation() -> str:
    return DOCUMENTATION.read_text()


def test_the_documented_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", documentation(), re.DOTALL)
    names: dict[str, Mounted] = {}
    exec(program, names)
    app = names["app"]
    assert Mounted(app)("PUT", "/metrics/job/j", "a 1\n").status == 200
    app.gateway.close()


def test_the_differences_that_there_have_to_be_are_documented() -> None:
    _, _, table = documentation().partition("## Where it differs")
    for name in ("label_pct_bad_utf8", "label_b64_bad_utf8"):
        (step,) = RECORDED[name]["steps"]
        assert step["path"].removeprefix("/metrics/job/j") in table
    assert '`{job="j",instance=""}`' in table


def test_a_stopped_server_is_seen_at_once() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "prom_middleware", "pushgateway", "--web.listen-address=:0"],
        env=environment(),
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(" ")[2])
        with Client(port) as idle:
            assert idle("GET", "/-/ready").text == "OK"
            process.terminate()  # though a connection waits for a next request
            assert eventually(process.poll, lambda code: code is not None) == 0
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_who_stops_waits_for_no_request_that_has_been_answered() -> None:
    """Whoever waits in vain would do so for as long as the test may take."""
    with served(make_asgi_app()) as server, Client(server.server_address[1]) as client:
        assert client("GET", "/-/ready").text == "OK"
        server.drain(3600)
