"""The ports of tests: each process has its own."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from ports import SIZE, free_port

PRINT = "from ports import free_port; print(*(free_port() for _ in range(10)), flush=True); input()"


def test_processes_that_run_at_the_same_time_have_their_own() -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PRINT],
            cwd=Path(__file__).parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    given = [{free_port() for _ in range(10)}]
    for child in children:
        assert child.stdout is not None
        given.append(set(map(int, child.stdout.readline().split())))
    for child in children:
        child.communicate(b"\n")
    assert [len(ports) for ports in given] == [10] * 4
    assert len(set.union(*given)) == 40


def test_one_in_use_is_not_given() -> None:
    port = free_port()
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(type=kind) as taken:
            taken.bind(("127.0.0.1", port))
            assert port not in {free_port() for _ in range(SIZE)}
    assert port in {free_port() for _ in range(SIZE)}
