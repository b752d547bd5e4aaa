"""What a check has found."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that is wrong: the check that found it, what it is, and how it is mended."""

    check: str
    problem: str
    remedy: str
