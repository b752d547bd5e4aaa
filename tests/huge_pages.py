"""Huge pages for what a process of tests has in memory.

To fork, the kernel copies a table with an entry for each page: of 230 MB in small pages, that takes
34 ms of a processor, in huge ones 10 ms. Tests fork some thousand times.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

HUGE = 2 << 20
# From Linux' mman.h; the second one is there since Linux 6.1, and does it at once.
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25


def use_huge_pages() -> None:
    """Ask for them, where the kernel has any; that it has none is no failure."""
    with suppress(OSError, AttributeError):
        madvise = ctypes.CDLL(None).madvise
        for begin, end in list(_anonymous()):
            begin, end = -(-begin // HUGE) * HUGE, end // HUGE * HUGE
            if begin < end:
                for advice in (MADV_HUGEPAGE, MADV_COLLAPSE):
                    madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), advice)


def _anonymous() -> Iterator[tuple[int, int]]:
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, permissions, *_, last = line.split()
        if permissions == "rw-p" and last in ("0", "[heap]"):
            begin, end = addresses.split("-")
            yield int(begin, 16), int(end, 16)
