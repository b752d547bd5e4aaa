"""Names of parametrized tests."""

from __future__ import annotations

import re


def without_address(value: object) -> str:
    """Return `repr(value)` as it is in every process: tests are distributed by their names."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
