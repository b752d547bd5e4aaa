"""The table of commands."""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from threading import Event
from time import monotonic

import pytest

from commands.programs import COMMAND, ask, run, start
from prom_middleware import __version__
from prom_middleware import commands as room
from prom_middleware.cli import COMMANDS, main


def test_help_names_every_command() -> None:
    for arguments in ((), ("--help",)):
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    assert f"usage: prom-middleware {name} " in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_the_defaults_are_those_of_the_help(name: str) -> None:
    parser = argparse.ArgumentParser()
    import_module(COMMANDS[name].module).add_arguments(parser)
    for action in parser._actions:
        said = re.search(r"\(default: ([\d:/][^ ;,)]*)", action.help or "")
        if said and action.default is not None:
            assert said[1] == f"{action.default}".removesuffix(".0"), action.option_strings


def test_version() -> None:
    assert run("--version").stdout == f"prom-middleware {__version__}\n"


@pytest.mark.parametrize("arguments", [("nothing",), ("--nothing",), ("textfile",), ("serve",)])
def test_wrong_arguments(arguments: tuple[str, ...]) -> None:
    done = ask(*arguments)
    assert done.returncode == 2
    assert "usage: prom-middleware" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        (("push", "--gateway", "localhost", "--job", ""), "--job: it is empty"),
        (("textfile", "-o", ""), "-o/--output: it is empty"),
        (
            ("textfile", "-o", "a.prom", "--timeout=nan"),
            "--timeout: nan is not a number of seconds",
        ),
        (("check", "--timeout=nan"), "--timeout: nan is not a number of seconds"),
        (("check", "--timeout=1e6"), "--timeout: 1e6 is not a number of seconds, above 0 and"),
        (("doctor", "shop", "--workers=-3"), "--workers: -3 is below 0"),
        (("check", "--max-series=-1"), "--max-series: -1 is below 0"),
        (("check", "--max-series=many"), "--max-series: invalid"),
    ],
)
def test_values_that_arguments_cannot_have(arguments: tuple[str, ...], argument: str) -> None:
    done = ask(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: argument {argument}" in done.stderr


CLOSED = "prom-middleware {}: standard {}: it is closed\n"
FULL = "prom-middleware {}: [Errno 28] No space left on device\n"
STREAMS = [
    ("check --format=json >/dev/full", FULL.format("check")),
    ("check --format=github >/dev/full", FULL.format("check")),
    ("check --extended --lint=none >/dev/full", FULL.format("check")),
    ("textfile -o - >/dev/full", FULL.format("textfile")),
    ("textfile -o - json >/dev/full", FULL.format("textfile")),
    ("doctor wsgiref.simple_server:demo_app >/dev/full", FULL.format("doctor")),
    ("check 2>/dev/full", ""),
    ("check --format=json >/dev/full 2>/dev/full", ""),
    ("textfile -o - >&-", CLOSED.format("textfile", "output")),
    ("textfile -o - >&- 2>&-", ""),
    ("textfile -o a.prom <&-", CLOSED.format("textfile", "input")),
    ("check <&-", CLOSED.format("check", "input")),
    ("push --gateway localhost --job a <&-", CLOSED.format("push", "input")),
]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(("line", "complaint"), STREAMS, ids=[line for line, _ in STREAMS])
def test_streams_that_are_full_or_closed(tmp_path: Path, line: str, complaint: str) -> None:
    words = line.split()
    given = [word for word in words if ">" not in word and "<" not in word]
    streams = " ".join(words[len(given) :])
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", *COMMAND, *given],
        input="a_total 1\n",
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", complaint)
    assert list(tmp_path.iterdir()) == []


UNPRINTABLE = [
    (["doctor", "größe"], 2, "gr\\xf6\\xdfe: 1 finding\n"),
    (["check", "größe.prom", "--utf8-names", "--extended"], 3, "g\\xf6\\udcff"),
    (["check", "größe.prom", "--utf8-names", "--format=github"], 3, "file=gr\\xf6\\xdfe.prom,"),
    (["check", "größe.prom", "--utf8-names", "--format=json"], 3, '"gr\\u00f6\\u00dfe.prom"'),
]


@pytest.mark.parametrize(("arguments", "code", "shown"), UNPRINTABLE)
def test_what_the_output_cannot_show_is_escaped(
    arguments: list[str],
    code: int,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    (tmp_path / "größe.py").write_text("def app(environ, start_response): ...", encoding="utf-8")
    (tmp_path / "größe.prom").write_bytes('{"gö'.encode() + b'\xff"} 1\n')
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert shown in done.stdout
    assert "Traceback" not in done.stderr


WAITING = """
import signal, threading
from prom_middleware.commands import wait

def end(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, end)
other = threading.Thread(target=threading.Event().wait, daemon=True)
other.start()
threading.Timer(0.5, signal.pthread_kill, (other.ident, signal.SIGTERM)).start()
try:
    wait(threading.Event())
except KeyboardInterrupt:
    print("ended", flush=True)
"""


def test_a_signal_that_another_thread_gets_ends_the_wait() -> None:
    command = [sys.executable, "-c", WAITING]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr


def test_a_wait_has_as_many_steps_as_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LATEST", 0.01)
    began = monotonic()
    room.wait(Event(), 0.05)
    assert monotonic() - began >= 0.05


def test_a_command_imports_no_other() -> None:
    program = (
        "import sys, prom_middleware.cli\n"
        "print([m for m in sys.modules if m.startswith('prom_middleware.commands')])\n"
        "prom_middleware.cli.main(['textfile', '-o', '-', 'prom_middleware'])\n"
        "print('prom_middleware.commands.serve' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("[]", "False"), done.stderr


# Slept in short pieces: Python looks for signals before it goes to sleep, and one that comes in
# between waits for the end of that piece.
SLOW = """\
import time
print("begun", flush=True)
for _ in range(1200):
    time.sleep(0.05)
"""
ENDED = {signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.mark.parametrize("number", ENDED)
@pytest.mark.parametrize(
    ("arguments", "is_done"),
    [
        (["check", "slow:app"], False),
        (["doctor", "slow"], False),
        (["textfile", "-o", "-", "slow"], False),
        (["textfile", "-o", "-", "--interval", "9", "slow"], True),
        (["serve", "slow"], True),
        (["bridge", "--from", "slow", "--to", "graphite://127.0.0.1:1"], True),
    ],
)
def test_a_signal_is_an_end_only_where_nothing_else_is(
    arguments: list[str], is_done: bool, number: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    process = start(arguments, cwd=tmp_path)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
    finally:
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0 if is_done else ENDED[number], "")


BARE = "def app(environ, start_response): pass"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["check", "bad.prom", "--format=json"], 3),
        (["doctor", "bare"], 2),
        (["textfile", "-o", "-", "bare"], 0),
    ],
)
def test_nobody_reads_to_the_end(arguments: list[str], code: int, tmp_path: Path) -> None:
    (tmp_path / "bad.prom").write_text("jobs 1\njobs 2\n")
    (tmp_path / "bare.py").write_text(BARE)
    process = start(arguments, cwd=tmp_path)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait(30)) == ("", code)
    process.stderr.close()
