"""What node_exporter would refuse: it leaves out a whole file for one wrong line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prom_middleware.parser import ParseError, parse


def problem(content: bytes) -> str | None:
    """Tell what is wrong with a text in the format 0.0.4, or None."""
    try:
        families = list(parse(_ended(content), "text/plain"))
    except ParseError as error:
        return f"this is not the text format: {error}"
    return _twice(families) or _timestamp(families) or (None if families else "no metrics in it")


def _ended(content: bytes) -> bytes:
    """Return a text with the last line's end, which is written where it is missing."""
    return content if content.endswith(b"\n") else content + b"\n"


def _twice(families: Iterable[Any]) -> str | None:
    seen = set()
    for family in families:
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            if key in seen:
                return f"{sample.name}{sample.labels or ''} is there twice"
            seen.add(key)
    return None


def _timestamp(families: Iterable[Any]) -> str | None:
    for family in families:
        for sample in family.samples:
            if sample.timestamp is not None:
                return f"{sample.name} has a timestamp, which node_exporter does not take"
    return None
