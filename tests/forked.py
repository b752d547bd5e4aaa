"""Programs that run in forks of a process that has imported what takes long.

Each has streams, an environment, a directory and an exit code of its own. What Python does as it
starts and ends is not shown: no function of `atexit` is called.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

PATIENCE = 60  # seconds for a program


class Forked:
    """That process, as tests see it."""

    def __init__(
        self, python: Sequence[str], imported: Iterable[str], environment: Mapping[str, str]
    ) -> None:
        pipe = subprocess.PIPE
        command = [*python, __file__, *imported]
        self._process = subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, encoding="utf-8"
        )
        self._environment = environment
        atexit.register(self._process.communicate)

    def run(
        self,
        program: str,
        *arguments: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        text: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, with `text` as its standard input."""
        with TemporaryDirectory() as folder:
            streams = [Path(folder, name) for name in ("input", "output", "errors")]
            for stream in streams:
                stream.write_text(text if stream is streams[0] else "", encoding="utf-8")
            where = str(cwd or Path.cwd()), dict(env or self._environment)
            code = self._ask([program, arguments, *where, [str(stream) for stream in streams]])
            said = [stream.read_text(encoding="utf-8") for stream in streams[1:]]
        return subprocess.CompletedProcess(arguments, code, *said)

    def _ask(self, asked: object) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


def main() -> None:
    for name in sys.argv[1:]:
        import_module(name)
    gc.freeze()  # else each fork's collections copy all of it
    for line in sys.stdin:
        if child := os.fork():
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        else:
            _run(*json.loads(line))


def _run(
    program: str, arguments: list[str], folder: str, environment: dict[str, str], streams: list[str]
) -> None:
    signal.alarm(PATIENCE)
    for number, stream in enumerate(streams):
        os.dup2(os.open(stream, os.O_RDWR), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a descriptor
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[0] = folder  # as `python -m` has it
    sys.argv[1:] = arguments
    code = 0
    try:
        exec(program, {"__name__": "__main__"})
    except SystemExit as left:
        code = int(left.code or 0)
    gc.collect()  # what is left open is told
    sys.stdout.flush()
    os._exit(code)  # to take apart all that is imported takes as long as to start


if __name__ == "__main__":
    main()
