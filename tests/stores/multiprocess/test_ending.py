"""The end of a process that has something in memory: it comes, whatever stands in the way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from multiprocess_servers.namespaces import with_tmpfs
from multiprocess_servers.serving import environment

# A process, or a child of it that leaves by `multiprocessing`'s way.
JOB = """
import sys
from multiprocessing import get_context
from wsgiref.util import setup_testing_defaults
from prom_middleware import failures, instrument


def hello(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]


def work():
    environ = {}
    setup_testing_defaults(environ)
    body = instrument(hello)(environ, lambda *_: None)
    print(*body, "store" in failures.counts(), flush=True)
    body.close()


if __name__ == "__main__" and sys.argv[1] == "itself":
    work()
elif __name__ == "__main__":
    child = get_context(sys.argv[1]).Process(target=work)
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""
Wrap = Callable[[list[str]], list[str]]


def linked(directory: str, command: list[str]) -> list[str]:
    script = 'ln -s /nowhere/at/all "$0/prom_middleware-1.dictionary" && exec "$@"'
    return ["sh", "-c", script, directory, *command]


def locked(directory: str, command: list[str]) -> list[str]:
    return ["flock", f"{directory}/prom_middleware-1.lock", *command]


STATES = {
    "a link in the dictionary's place": linked,
    "the lock is somebody else's": locked,
    "a full disk": lambda directory, command: with_tmpfs(directory, "size=4k", command),
    "a read-only disk": lambda directory, command: with_tmpfs(directory, "ro", command),
}


@pytest.mark.parametrize("who", ["itself", "fork", "spawn"])
@pytest.mark.parametrize("state", STATES)
def test_a_process_that_cannot_write_ends(state: str, who: str, tmp_path: Path) -> None:
    directory, program = tmp_path / "metrics", tmp_path / "job.py"
    directory.mkdir()
    program.write_text(JOB)
    wrap: Wrap = partial(STATES[state], str(directory))
    done = subprocess.run(
        wrap([sys.executable, str(program), who]),
        env=environment(PROMETHEUS_MULTIPROC_DIR=str(directory)),
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "b'hello' True\n"), done.stderr
