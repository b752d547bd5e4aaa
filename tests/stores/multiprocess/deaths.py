"""Killing a process at each step of what it does, by injected stops."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

from prom_middleware.stores.multiprocess import vector

# No life has more steps than this; a child that is not through by then never will be.
STEPS = 2000


class Death:
    """Kill this process at step number `at`."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, module: Any, name: str) -> None:
        """Make a step before and after every call of a function."""
        call = getattr(module, name)

        def stepping(*arguments: Any, **named: Any) -> Any:
            self.step()
            result = call(*arguments, **named)
            self.step()
            return result

        setattr(module, name, stepping)

    def halfway(self) -> None:
        """Make a step when only half of what `os.pwrite` is given was written."""
        pwrite = os.pwrite

        def torn(fd: int, data: bytes, at: int) -> int:
            half = len(data) // 2
            written = pwrite(fd, data[:half], at)
            self.step()
            return written + pwrite(fd, data[half:], at + half)

        # A write of 8 bytes is one; no file system tears it.
        os.pwrite = lambda fd, data, at: (torn if len(data) > 8 else pwrite)(fd, data, at)


def at_calls(death: Death) -> None:
    """Step at every call that changes a file, a mapping or a lock."""
    death.halfway()
    for name in ("pwrite", "posix_fallocate", "rename", "unlink", "open", "close"):
        if hasattr(os, name):
            death.around(os, name)
    death.around(fcntl, "flock")
    death.around(vector, "mmap")


def at_lines(*modules: ModuleType) -> Callable[[Death], None]:
    """Return what makes a step at every line of some modules."""
    files = {module.__file__ for module in modules}

    def arm(death: Death) -> None:
        def trace(frame: FrameType, event: str, argument: object) -> Any:
            if frame.f_code.co_filename not in files:
                return None
            if event == "line":
                death.step()
            return trace

        sys.settrace(trace)

    return arm
