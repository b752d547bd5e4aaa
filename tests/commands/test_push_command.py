"""`python -m prom_middleware push`."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from commands.programs import COMMAND, ask, environment, run, start
from metrics import Series, series, value
from prom_middleware.commands.children import Child
from push.gateways import Scripted, listening, scripted, silent

TEXT = "# TYPE rows counter\nrows_total 3\n"
NOWHERE = "127.0.0.1:1"


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted(200) as served:
        yield served


def to(server: Scripted, *arguments: str) -> list[str]:
    return ["push", "--gateway", server.address, "--job", "nightly", *arguments]


def brought(server: Scripted) -> Series:
    return series(server.asked[-1].body.decode())


@pytest.mark.parametrize(
    ("arguments", "method", "path"),
    [
        ([], "POST", "/metrics/job/nightly"),
        (["--method", "put"], "PUT", "/metrics/job/nightly"),
        (["--grouping", "b=x=/", "--grouping", "a="], "POST", ""),
    ],
    ids=str,
)
def test_standard_input(server: Scripted, arguments: list[str], method: str, path: str) -> None:
    done = run(*to(server, *arguments), text=TEXT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (asked,) = server.asked
    path = path or "/metrics/job/nightly/a@base64/=/b@base64/eD0v"
    assert (asked.method, asked.path, asked.body.decode()) == (method, path, TEXT)


def test_a_last_line_without_an_end(server: Scripted) -> None:
    assert ask(*to(server), text="a 1").returncode == 0
    assert server.asked[0].body == b"a 1\n"


def test_compression(server: Scripted) -> None:
    import gzip

    assert ask(*to(server, "--compression", "gzip"), text=TEXT).returncode == 0
    assert server.asked[0].headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(server.asked[0].body).decode() == TEXT


@pytest.mark.parametrize("text", ["", "\n \n"], ids=["empty", "blank"])
def test_no_metrics_are_no_push(server: Scripted, text: str) -> None:
    done = ask(*to(server, "--method", "put"), text=text)
    assert done.returncode == 1
    assert "no metrics" in done.stderr
    assert server.asked == [], "it would empty the group"


def test_delete_reads_nothing(server: Scripted) -> None:
    assert ask(*to(server, "--method", "delete")).returncode == 0
    assert (server.asked[0].method, server.asked[0].body) == ("DELETE", b"")


def test_what_fails_is_said_once() -> None:
    with scripted((400, {}, b"line 1 is wrong")) as server:
        done = ask(*to(server), text=TEXT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("400 Bad Request: line 1 is wrong") == 1
    assert "Traceback" not in done.stderr


def test_a_deadline() -> None:
    with listening(silent) as (address, _):
        done = ask("push", "--gateway", address, "--job", "j", "--deadline", "0.3", text=TEXT)
    assert done.returncode == 1
    assert "attempts: 1" in done.stderr


@contextmanager
def never_answering() -> Iterator[tuple[str, threading.Event]]:
    """Yield the address of who answers no push, and what is set when one has come."""
    arrived = threading.Event()

    def late(connection: Any, ended: threading.Event) -> None:
        connection.recv(65536)
        arrived.set()
        ended.wait(60)

    with listening(late) as (address, _):
        yield address, arrived


def test_interrupted_while_it_pushes() -> None:
    with never_answering() as (address, arrived):
        process = subprocess.Popen(
            [*COMMAND, "push", "--gateway", address, "--job", "j"],
            env=environment(),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(TEXT.encode())
        process.stdin.close()
        assert arrived.wait(60)
        process.terminate()
        assert process.stderr is not None
        assert b"interrupted" in process.stderr.read()
        assert process.wait(60) == 1, "nobody knows whether it was pushed"
        process.stderr.close()


# --- credentials


def test_secrets_from_the_environment_and_files(
    server: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    file = str(tmp_path / "secret")
    assert ask(*to(server, "--bearer-token-file", file), text=TEXT).returncode == 0
    assert ask(*to(server, "--username=joe", "--password-file", file), text=TEXT).returncode == 0
    monkeypatch.setenv("PROM_MIDDLEWARE_PUSH_BEARER_TOKEN", "from-environment")
    assert ask(*to(server), text=TEXT).returncode == 0
    monkeypatch.delenv("PROM_MIDDLEWARE_PUSH_BEARER_TOKEN")
    monkeypatch.setenv("PROM_MIDDLEWARE_PUSH_USERNAME", "joe")
    monkeypatch.setenv("PROM_MIDDLEWARE_PUSH_PASSWORD", "x")
    monkeypatch.setenv("PROM_MIDDLEWARE_PUSH_GATEWAY", server.address)
    assert ask("push", "--job", "j", text=TEXT).returncode == 0
    assert [asked.headers["Authorization"] for asked in server.asked] == [
        "Bearer from-file",
        "Basic am9lOmZyb20tZmlsZQ==",
        "Bearer from-environment",
        "Basic am9lOng=",
    ]


def test_a_secret_that_is_not_utf8(
    server: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"hush\xff\n")
    file = str(tmp_path / "secret")
    command = ("--run", "--", "echo", "it ran")
    said = [
        ask(*to(server, "--bearer-token-file", file, *command)),
        ask(*to(server, "--username=joe", "--password-file", file, *command)),
    ]
    monkeypatch.setenv("PROM_MIDDLEWARE_PUSH_PASSWORD", os.fsdecode(b"hush\xff"))
    said.append(ask(*to(server, "--username=joe", *command)))
    for done in said:
        assert (done.returncode, done.stdout) == (2, "")
        assert "UTF-8" in done.stderr
        assert "Traceback" not in done.stderr
        assert "hush" not in done.stderr
    assert server.asked == []


def test_a_command_does_not_see_secrets(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROM_MIDDLEWARE_PUSH_USERNAME", "joe")
    monkeypatch.setenv("PROM_MIDDLEWARE_PUSH_PASSWORD", "hush")
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    done = ask(*to(server, "--run", "--", sys.executable, "-c", program))
    seen = json.loads(done.stdout)
    assert "hush" not in seen.values()
    assert seen["PROM_MIDDLEWARE_PUSH_USERNAME"] == "joe"
    assert server.asked[0].headers["Authorization"] == "Basic am9lOmh1c2g="


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--gateway"),
        (["--gateway", "h"], "--job"),
        (["--gateway", "http://[", "--job", "j"], "gateway"),
        (["--gateway", "h", "--job", "j", "--grouping", "a"], "NAME=VALUE"),
        (["--gateway", "h", "--job", "j", "--grouping", "a-b=c"], "a-b"),
        (["--gateway", "h", "--job", "j", "--grouping", "a=b", "--grouping", "a=c"], "twice"),
        (["--gateway", "h", "--job", "j", "--retries", "-1"], "retries=-1"),
        (["--gateway", "h", "--job", "j", "--timeout", "nan"], "timeout=nan"),
        (["--gateway", "h", "--job", "j", "--username", "joe"], "password"),
        (["--gateway", "h", "--job", "j", "--password-file", "none"], "none"),
        (["--gateway", "h", "--job", "j", "--ca-file", "none"], "none"),
        (["--gateway", "h", "--job", "j", "--run"], "--run takes a command"),
        (["--gateway", "h", "--job", "j", "--method", "put", "--run", "true"], "no --method"),
        (["--gateway", "h", "--job", "j", "true"], "unrecognized"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments: list[str], named: str) -> None:
    done = ask("push", *arguments, text=TEXT)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert "Traceback" not in done.stderr


# --- commands


@pytest.mark.parametrize("dashes", [["--"], []], ids=["dashes", "none"])
@pytest.mark.parametrize("code", [0, 3])
def test_a_command(server: Scripted, code: int, dashes: list[str]) -> None:
    script = f'echo "$@"; read line; echo "$line" >&2; exit {code}'
    arguments = [*dashes, "sh", "-c", script, "sh", "--job", "--", "-x"]
    done = run(*to(server, "--run", *arguments), text="a line\n")
    assert (done.returncode, done.stdout, done.stderr) == (code, "--job -- -x\n", "a line\n")
    found = brought(server)
    ending = "failure" if code else "success"
    assert {name for name, _ in found} == {
        "batch_job_duration_seconds",
        "batch_job_exit_code",
        "batch_job_last_completion_timestamp_seconds",
        f"batch_job_last_{ending}_timestamp_seconds",
    }
    assert value(found, "batch_job_exit_code") == code
    assert server.methods == ["POST"]


@pytest.mark.parametrize(
    ("command", "code"),
    [(["no-such-program-here"], 127), (["/"], 126), (["sh", "-c", "kill -9 $$"], 137)],
    ids=str,
)
def test_exit_codes_of_a_shell(server: Scripted, command: list[str], code: int) -> None:
    done = ask(*to(server, "--run", "--", *command))
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert value(brought(server), "batch_job_exit_code") == code


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("errors", ["2>/dev/full", "2>&-"])
def test_nor_are_there_others_where_nobody_hears_of_it(server: Scripted, errors: str) -> None:
    command = [*COMMAND, *to(server, "--run", "--", "no-such-program-here")]
    script = f'"$@" {errors} >/dev/null; echo $?'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *command], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "127\n"
    assert value(brought(server), "batch_job_exit_code") == 127


def test_what_is_open_is_the_command_s(server: Scripted, tmp_path: Path) -> None:
    command = [*COMMAND, *to(server, "--run", "--", "sh", "-c", "echo hello >&3")]
    subprocess.run(["sh", "-c", 'exec "$@" 3>said', "sh", *command], cwd=tmp_path, check=True)
    assert (tmp_path / "said").read_text() == "hello\n"


@pytest.mark.parametrize("code", [0, 3])
def test_a_push_that_fails_changes_nothing(code: int) -> None:
    arguments = ["push", "--gateway", NOWHERE, "--job", "j", "--retries", "0", "--run"]
    done = ask(*arguments, "--", "sh", "-c", f"exit {code}")
    assert done.returncode == code
    assert done.stderr.count("refused") == 1


WAITS = """\
import signal, sys

def told(number, frame):
    print(signal.Signals(number).name, flush=True)
    sys.exit(9)

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, told)
print("running", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_signals_go_to_the_command(
    server: Scripted, name: str, request: pytest.FixtureRequest
) -> None:
    # Below `nohup`, where it is ignored, all processes of the test would go on ignoring it.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    request.addfinalizer(lambda: signal.signal(signal.SIGHUP, before))
    process = start(to(server, "--run", "--", sys.executable, "-c", WAITS))
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.Signals[name])
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (9, f"{name}\n", "")
    assert value(brought(server), "batch_job_exit_code") == 9


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"])
def test_a_signal_that_comes_too_early_waits_for_the_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    def ours(number: int, frame: object) -> None:
        """Nothing is done of it while there is a command."""

    number = signal.Signals[name]
    before = signal.signal(number, ours)
    request.addfinalizer(lambda: signal.signal(number, before))
    monkeypatch.chdir(tmp_path)  # where one of them may leave a core
    with Child(["sleep", "60"], os.environ) as child:
        signal.raise_signal(number)
        assert child.wait() == 128 + number
    assert signal.getsignal(number) is ours


def test_what_is_ignored_stays_so(request: pytest.FixtureRequest) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    request.addfinalizer(lambda: signal.signal(signal.SIGHUP, before))
    with Child(["true"], os.environ) as child:
        signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert child.wait() == 0


COUNTS = """\
import signal, time

told = []
for number in (signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, lambda number, frame: told.append(number))
print("running", flush=True)
while len(told) < 2:
    time.sleep(0.01)
time.sleep(0.5)
print(len(told), "told", flush=True)
"""


@pytest.mark.filterwarnings("ignore:.*use of forkpty:DeprecationWarning")
def test_a_terminal_tells_the_command_itself(server: Scripted) -> None:
    """Ctrl-C and Ctrl-\\ go to all that run in front: they must not arrive twice."""
    command = [*COMMAND, *to(server, "--run", "--", sys.executable, "-c", COUNTS)]
    child, terminal = pty.fork()
    if child == 0:
        os.execve(command[0], command, environment())
    read = b""
    while b"running" not in read:
        read += os.read(terminal, 1024)
    os.write(terminal, b"\x03\x1c")
    while b"told" not in read:
        read += os.read(terminal, 1024)
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert b"2 told" in read


def test_told_to_end_while_it_pushes() -> None:
    """The command is over, and its result is what is left to tell."""
    arrived, answer = threading.Event(), threading.Event()

    def late(connection: Any, ended: threading.Event) -> None:
        connection.recv(65536)
        arrived.set()
        answer.wait(60)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with listening(late) as (address, _):
        process = start(["push", "--gateway", address, "--job", "j", "--run", "sh", "-c", "exit 4"])
        assert arrived.wait(60)
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        answer.set()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (4, "", "")


@pytest.mark.parametrize(
    ("command", "code"), [(("sh", "-c", "exit 4"), 4), (("no-such-program-here",), 127)]
)
def test_interrupted_while_it_pushes_how_a_command_went(
    command: tuple[str, ...], code: int
) -> None:
    with never_answering() as (address, arrived):
        process = start(["push", "--gateway", address, "--job", "j", "--run", *command])
        assert arrived.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)  # less than the deadline of pushes
    assert (process.returncode, out) == (code, "")
    assert "interrupted while pushing" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_that_it_is_interrupted_need_not_be_heard() -> None:
    script = 'exec "$@" 2>/dev/full'
    with never_answering() as (address, arrived):
        given = ["push", "--gateway", address, "--job", "j", "--run", "sh", "-c", "exit 4"]
        process = start(given, wrap=lambda command: ["sh", "-c", script, "sh", *command])
        assert arrived.wait(60)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 4
