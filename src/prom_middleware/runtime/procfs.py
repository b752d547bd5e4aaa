"""What Linux says of a process: proc(5)."""

from __future__ import annotations

import os
from typing import NamedTuple

from prom_middleware.forks import BEGAN, stat_fields

TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096

# Places in `stat_fields`.
UTIME, STIME, THREADS, VIRTUAL, RESIDENT = 11, 12, 17, 20, 21


class Process(NamedTuple):
    """One process.

    `start` is in ticks since boot, `begun` the same in Unix seconds, `cpu` in ticks, memory in
    bytes.
    """

    pid: int
    start: int
    begun: float
    cpu: int
    threads: int
    virtual: int
    resident: int


class Procfs:
    """A mounted /proc, looked at for one scrape."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._boot_time: float | None = None

    def is_there(self) -> bool:
        """Tell whether the system has it."""
        return os.path.exists(os.path.join(self._root, "stat"))

    @property
    def boot_time(self) -> float:
        """Return when the system was started, in Unix seconds: another time if the clock is set."""
        # No `cached_property`: before Python 3.12 it has a lock, which a child that is forked while
        # another thread holds it would wait for for ever.
        if self._boot_time is None:
            self._boot_time = self._read_boot_time()
        return self._boot_time

    def _read_boot_time(self) -> float:
        for line in self._read("stat").splitlines():
            if line.startswith(b"btime "):
                return float(line.split()[1])
        raise ValueError(f"{self._root}/stat has no btime")

    def process(self, pid: int) -> Process | None:
        """Return what a process uses; None if there is none, or if it is dead."""
        try:
            fields = stat_fields(pid, self._root)
        except (FileNotFoundError, ProcessLookupError):
            return None
        if fields[VIRTUAL] == b"0":  # a zombie has none, nor has what is about to be one
            return None
        start = int(fields[BEGAN])
        return Process(
            pid,
            start,
            begun=self.boot_time + start / TICKS,
            cpu=int(fields[UTIME]) + int(fields[STIME]),
            threads=int(fields[THREADS]),
            virtual=int(fields[VIRTUAL]),
            resident=int(fields[RESIDENT]) * PAGE,
        )

    def open_files(self, pid: int) -> float:
        """Return how many descriptors a process has; OSError if it is dead or keeps them secret."""
        path = os.path.join(self._root, str(pid), "fd")
        try:
            return len(os.listdir(path))
        except PermissionError:
            # Who was root once is closed to its equals; since Linux 6.2 the number is not.
            number = os.stat(path).st_size
            if not number:
                raise
            return number

    def most_files(self, pid: int) -> float:
        """Return how many descriptors a process may have; OSError if it is dead."""
        for line in self._read(str(pid), "limits").splitlines():
            if line.startswith(b"Max open files"):
                soft = line.split()[3]
                return float("inf") if soft == b"unlimited" else float(soft)
        raise ProcessLookupError(f"process {pid} has no limits any more")

    def _read(self, *path: str) -> bytes:
        with open(os.path.join(self._root, *path), "rb") as file:
            return file.read()
