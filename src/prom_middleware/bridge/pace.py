"""How a thread leaves the interpreter to others: short work, and a rest three times as long.

Whoever waits for Python's lock gets it when the one who has it lets go, else only after
`sys.getswitchinterval()`, 5 ms; and a request needs it again after each system call.
"""

from __future__ import annotations

import time

SLICE = 0.0002  # seconds of work before a rest
SHARE = 0.25  # of the time, when there is always something to do
LONGEST_REST = 0.1  # seconds


class Pace:
    """The time that was worked, and has to be rested."""

    def __init__(self) -> None:
        self._worked = 0.0
        self._began = time.perf_counter()

    def begin(self) -> None:
        """Begin to work, after a wait; that was as good as a rest."""
        now = time.perf_counter()
        self._worked = max(0.0, self._worked - (now - self._began) * SHARE / (1 - SHARE))
        self._began = now

    def pause(self) -> None:
        """Rest, if it is time. The clock runs on while others have the interpreter.

        Then the rest is longer: where they are busy, this is less so.
        """
        now = time.perf_counter()
        self._worked += now - self._began
        self._began = now
        if self._worked >= SLICE:
            time.sleep(min(self._worked * (1 - SHARE) / SHARE, LONGEST_REST))
            self._worked, self._began = 0.0, time.perf_counter()
