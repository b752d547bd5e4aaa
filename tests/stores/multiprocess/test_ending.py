"""The end of a process that has something in memory: it comes, whatever stands in the way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fcntl import LOCK_EX, flock
from functools import partial
from pathlib import Path
from time import sleep

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
# The lock is somebody else's while the child counts, and free before it ends.
LATE = """
import fcntl, os, sys
from multiprocessing import get_context
from prometheus_client import REGISTRY, Counter
from prom_middleware import failures
from prom_middleware.multiprocess import install

install()
counter = Counter("jobs", "J.")


def work(ready, free):
    os.read(ready.fileno(), 1)
    counter.inc(10)
    assert "store" in failures.counts()
    os.write(free.fileno(), b"!")
    os.read(ready.fileno(), 1)


if __name__ == "__main__":
    counter.inc()
    lock = os.open(os.environ["PROMETHEUS_MULTIPROC_DIR"] + "/prom_middleware-1.lock", os.O_RDWR)
    context = get_context(sys.argv[1])
    (theirs, ours), (free, told) = context.Pipe(), context.Pipe()
    fcntl.flock(lock, fcntl.LOCK_EX)
    child = context.Process(target=work, args=(theirs, told))
    child.start()
    os.write(ours.fileno(), b"!")
    os.read(free.fileno(), 1)
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.write(ours.fileno(), b"!")
    child.join()
    assert (child.exitcode, REGISTRY.get_sample_value("jobs_total")) == (0, 11)
"""


# It imports multiprocessing once it has something in memory, and is no child for that.
PATIENT = """
import atexit, os, sys
from prometheus_client import Counter
from prom_middleware import failures
from prom_middleware.multiprocess import install
from prom_middleware.stores.multiprocess import store
store.HURRY, store.PATIENCE = 0.0, 60.0

install()
counter = Counter("jobs", "J.")
input()
assert "multiprocessing.util" not in sys.modules
counter.inc(10)
import multiprocessing.util
clock, passed = store.monotonic, iter(range(10, 1000, 10))
store.monotonic = lambda: clock() + next(passed)  # it tries again each time
counter.inc(5)
counter.inc(5)
assert failures.counts()["store"] == 3
assert len(multiprocessing.util._afterfork_registry) == 1
atexit.register(print, "ends", flush=True)  # called first
"""
SHOW = """
from prometheus_client import REGISTRY, Counter
from prom_middleware.multiprocess import install

install()
Counter("jobs", "J.")
print(REGISTRY.get_sample_value("jobs_total"))
"""
# Nobody has that much patience; a child in a hurry has none.
HURRIED = """
import sys
from multiprocessing import get_context
from prometheus_client import Counter
from prom_middleware import failures
from prom_middleware.multiprocess import install
from prom_middleware.stores.multiprocess import store
store.HURRY, store.PATIENCE = 0.0, 1000.0

install()
counter = Counter("jobs", "J.")


def work():
    store.PATIENCE = 0.0  # for what is asked before the end
    counter.inc()
    assert "store" in failures.counts()
    store.PATIENCE = 1000.0


if __name__ == "__main__":
    child = get_context(sys.argv[1]).Process(target=work)
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


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


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_writes_at_its_end_what_it_could_not_before(method: str, tmp_path: Path) -> None:
    program = tmp_path / "job.py"
    program.write_text(LATE)
    done = subprocess.run(
        [sys.executable, str(program), method],
        env=environment(PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "metrics")),
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


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


def test_a_program_that_imports_multiprocessing_is_no_child_of_it(tmp_path: Path) -> None:
    variables = environment(PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    command = [sys.executable, "-c", PATIENT]
    with subprocess.Popen(
        command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as job:
        with (tmp_path / "prom_middleware-1.lock").open("w") as lock:
            flock(lock, LOCK_EX)
            print("taken", file=job.stdin, flush=True)
            assert job.stdout is not None
            assert job.stdout.readline() == "ends\n"
            sleep(0.5)  # it waits for the lock meanwhile
        assert job.wait(60) == 0
    shown = subprocess.check_output([sys.executable, "-c", SHOW], env=variables, timeout=60)
    assert shown == b"20.0\n"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_of_multiprocessing_is_in_a_hurry(method: str, tmp_path: Path) -> None:
    program = tmp_path / "job.py"
    program.write_text(HURRIED)
    done = subprocess.run(
        locked(str(tmp_path), [sys.executable, str(program), method]),
        env=environment(PROMETHEUS_MULTIPROC_DIR=str(tmp_path)),
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
