"""SIGTERM: a job that is told to end still pushes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from push.gateways import Scripted, listening, scripted, silent

# Slept in short pieces: Python looks for signals before it goes to sleep, and one that comes in
# between waits for the end of that piece.
SYNC = """\
import signal, sys, time
from prom_middleware.push import batch_job

before = signal.getsignal(signal.SIGTERM)
try:
    with batch_job("nightly", gateway=sys.argv[1], deadline=float(sys.argv[2])) as job:
        print("running", flush=True)
        for _ in range(int(sys.argv[3])):
            time.sleep(0.05)
    print("ended", flush=True)
finally:
    print(bool(job.result), signal.getsignal(signal.SIGTERM) is before, flush=True)
"""
ASYNC = """\
import asyncio, signal, sys
from prom_middleware.push import batch_job


async def work():
    async with batch_job("nightly", gateway=sys.argv[1], deadline=float(sys.argv[2])):
        print("running", flush=True)
        await asyncio.sleep(int(sys.argv[3]) / 20)


asyncio.run(work())
"""
NESTED = """\
import sys, time
from prom_middleware.push import batch_job

gateway = sys.argv[1]
with batch_job("outer", gateway=gateway), batch_job("inner", gateway=gateway):
    print("running", flush=True)
    for _ in range(1200):
        time.sleep(0.05)
"""
OWN = """\
import signal, sys, time
from prom_middleware.push import batch_job


def own(*_):
    raise RuntimeError("their handler decides")


signal.signal(signal.SIGTERM, own)
with batch_job("nightly", gateway=sys.argv[1]):
    print("running", flush=True)
    for _ in range(1200):
        time.sleep(0.05)
"""
ENDED = 128 + signal.SIGTERM


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted(200) as served:
        yield served


def begun(program: str, address: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a program that says when its job runs."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, address, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    return process


def told_to_end(program: str, address: str, *arguments: str) -> tuple[int, str, str]:
    process = begun(program, address, *arguments)
    process.terminate()
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_while_the_job_runs(server: Scripted) -> None:
    code, out, _ = told_to_end(SYNC, server.address, "60", "1200")
    assert (code, out) == (ENDED, "True True\n")
    (asked,) = server.asked
    assert b"batch_job_last_failure_timestamp_seconds" in asked.body


def test_while_an_async_job_runs(server: Scripted) -> None:
    code, _, _ = told_to_end(ASYNC, server.address, "60", "1200")
    assert code == ENDED
    (asked,) = server.asked
    assert b"batch_job_last_failure_timestamp_seconds" in asked.body


def test_jobs_within_jobs(server: Scripted) -> None:
    code, _, _ = told_to_end(NESTED, server.address)
    assert code == ENDED
    assert [asked.path for asked in server.asked] == ["/metrics/job/inner", "/metrics/job/outer"]


def test_their_own_handler_decides(server: Scripted) -> None:
    code, _, err = told_to_end(OWN, server.address)
    assert code == 1
    assert "RuntimeError: their handler decides" in err
    assert len(server.asked) == 1


@pytest.mark.parametrize("program", [SYNC, ASYNC], ids=["sync", "async"])
def test_while_it_pushes(program: str) -> None:
    """It waits until the push is over, and then ends."""
    arrived, answer = threading.Event(), threading.Event()

    def late(connection: object, ended: threading.Event) -> None:
        connection.recv(65536)  # type: ignore[attr-defined]
        arrived.set()
        answer.wait(60)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")  # type: ignore[attr-defined]

    with listening(late) as (address, accepted):
        process = begun(program, address, "60", "0")
        assert arrived.wait(60)
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        answer.set()
        out, _ = process.communicate(timeout=60)
    assert process.returncode == ENDED
    assert "ended" not in out, "what comes after the job has no more part in it"
    assert len(accepted) == 1


def test_the_deadline_counts_here_too() -> None:
    with listening(silent) as (address, _):
        code, out, _ = told_to_end(SYNC, address, "0.3", "1200")
    assert (code, out) == (ENDED, "False True\n")


def test_in_another_thread_signals_are_left_alone(server: Scripted) -> None:
    from prom_middleware.push import batch_job

    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def work() -> None:
        with batch_job("nightly", gateway=server.address):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert seen == [before]
    assert len(server.asked) == 1
