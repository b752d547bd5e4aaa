"""A server with several processes, in a directory of its own, and what there is to see of it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ports import free_port
from servers.support import Server, stop

HERE = Path(__file__).parent
NOT_INHERITED = ("PROMETHEUS_MULTIPROC_DIR", "PROM_MIDDLEWARE_MULTIPROC_DIR", "PORT")


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment, less what would change where numbers are kept."""
    kept = {key: value for key, value in os.environ.items() if key not in NOT_INHERITED}
    path = os.pathsep.join(filter(None, (str(HERE), kept.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **more}


def private_directories(base: Path) -> list[Path]:
    """Return the directories that servers made below the temporary directory `base`."""
    return sorted(base.glob("prom_middleware-*/*"))


def workers(server: int) -> list[int]:
    """Return the living children of a server, less those that serve nothing."""
    children: list[int] = []
    for task in Path(f"/proc/{server}/task").glob("*/children"):
        with suppress(OSError):
            children += map(int, task.read_text().split())
    return [child for child in children if _serves(child)]


def _serves(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    # A zombie has no command; multiprocessing's tracker of resources has one of its own.
    return bool(command) and b"resource_tracker" not in command


def born(pid: int) -> int:
    """Return when a process was started, in ticks since the machine was; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except OSError:
        return 0


class Launch:
    """Start a server as often as need be, always on the same port."""

    def __init__(self, log: IO[bytes], environment: dict[str, str]) -> None:
        self.port = free_port()
        self.pids: list[int] = []
        self._log = log
        self._environment = environment

    def start(self, command: Sequence[str], ready: str = "/metrics") -> Server:
        """Start it, and return when it answers."""
        process = subprocess.Popen(
            command,
            cwd=HERE,
            env=self._environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self.pids.append(process.pid)
        server = Server(process, self.port, self._log)
        try:
            server.wait(ready)
        except BaseException:
            self.end(server)
            raise
        return server

    def end(self, server: Server) -> None:
        """Stop it, and whatever it left behind in its session."""
        server.client.close()
        stop(server.process)
        with suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGKILL)


@contextmanager
def launching(log: Path, **environment_variables: str) -> Iterator[Launch]:
    """Give what starts servers that write to `log`."""
    with log.open("w+b") as file:
        yield Launch(file, environment(**environment_variables))


@contextmanager
def serving(launch: Launch, command: Sequence[str], ready: str = "/metrics") -> Iterator[Server]:
    """Run a server until the block ends."""
    server = launch.start(command, ready)
    try:
        yield server
    finally:
        launch.end(server)
