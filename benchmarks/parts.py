"""The command line of whatever measures one part in a process of its own."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from benchmarks.rounds import Plan


def options(module: str, name: str, parts: Iterable[str]) -> argparse.Namespace:
    """Return what is asked for: the part as `name`, whether `quick`, and how many `seconds`."""
    parser = argparse.ArgumentParser(prog=f"benchmarks.{module}")
    parser.add_argument(name, choices=parts)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, default=Plan.seconds)
    return parser.parse_args()
