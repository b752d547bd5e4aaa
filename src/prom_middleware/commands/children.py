"""A command that runs in our place: it gets our signals, and we have its exit code."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from prom_middleware.commands import SIGNALLED
from prom_middleware.commands.streams import complain

# What one sends to a process to tell it something; those of job control are left to the system.
PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
# POSIX, Shell Command Language, 2.8.2: a command that is not there, or that cannot be run.
NOT_FOUND, NOT_RUN = 127, 126


class Child:
    """A command that is started when the block begins; within it, signals go to the command."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = False
        self._early: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Child:
        for name in PASSED_ON:
            number = getattr(signal, name, None)
            # What is ignored stays so, as nohup wants it.
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self) -> int:
        """Run the command to its end; return the exit code that a shell would have for it."""
        try:
            # What else is open is for the command, as it is where a shell starts it.
            self._process = subprocess.Popen(  # noqa: S603
                self._command, env=self._environment, close_fds=False
            )
        except OSError as error:
            complain(f"{self._command[0]}: {error.strerror}")
            self._is_over = True
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUN
        for number in self._early:
            self._process.send_signal(number)
        code = self._process.wait()
        self._is_over = True
        return code if code >= 0 else SIGNALLED - code

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if self._is_over:
            if number == signal.SIGINT:  # there is only our push to interrupt
                raise KeyboardInterrupt
        elif self._process is None:
            self._early.append(number)
        elif not _came_from_terminal(number):
            self._process.send_signal(number)


def _came_from_terminal(number: int) -> bool:
    """Tell whether the command has got the signal already: a terminal tells the whole group."""
    if number not in (signal.SIGINT, getattr(signal, "SIGQUIT", None)):
        return False
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
