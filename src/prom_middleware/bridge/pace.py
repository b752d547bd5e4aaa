"""How a thread leaves the interpreter to others: short work, and a longer rest.

Whoever waits for Python's lock gets it when the one who has it lets go, else only after
`sys.getswitchinterval()`, 5 ms; and a request needs it again after each system call.
"""

from __future__ import annotations

import time

SLICE = 0.0002  # seconds of work before a rest
SHARE = 0.25  # of the time, when there is always something to do
LEAST_SHARE = 0.1  # where it is for nothing: nobody is to wait for a flood that is refused
LONGEST_REST = 0.02  # seconds: a flood does not shut out what comes with it
# Seconds for one of work.
_REST, _LONGER_REST = (1 - SHARE) / SHARE, (1 - LEAST_SHARE) / LEAST_SHARE


class Pace:
    """The time that was worked, and the rest that is owed for it."""

    def __init__(self) -> None:
        self._worked = self._owed = 0.0
        self._began = time.perf_counter()

    def begin(self) -> None:
        """Begin to work, after a wait; that was as good as a rest."""
        now = time.perf_counter()
        self._owed -= now - self._began
        if self._owed <= 0:
            self._worked = self._owed = 0.0
        self._began = now

    def pause(self, for_nothing: float = 0.0) -> None:
        """Rest, if it is time; of the work since the last pause, so much was `for_nothing`: 0 to 1.

        The clock runs on while others have the interpreter. Then the rest is longer: where they are
        busy, this is less so.
        """
        now = time.perf_counter()
        worked = now - self._began
        self._worked += worked
        self._owed += worked * (_REST + for_nothing * (_LONGER_REST - _REST))
        self._began = now
        if self._worked >= SLICE:
            time.sleep(min(self._owed, LONGEST_REST))
            self._worked = self._owed = 0.0
            self._began = time.perf_counter()
