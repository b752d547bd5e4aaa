"""What arguments may be: types for argparse, which says which argument is wrong."""

from __future__ import annotations

import argparse

from prom_middleware.options import SECONDS


def seconds(text: str) -> float:
    """Return a number of seconds."""
    value = float(text)
    is_right, wanted = SECONDS
    if not is_right(value):
        raise argparse.ArgumentTypeError(f"{text} is not {wanted}")
    return value


def count(text: str) -> int:
    """Return a number of things, which may be none."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def name(text: str) -> str:
    """Return a text that is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text
