"""What node_exporter would refuse: it leaves out a whole file for one wrong line.

And what it would show as something else: of a summary's count of -1 it makes 2**64.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prom_middleware.commands import streams
from prom_middleware.exposition.textfile import reserved_label
from prom_middleware.parser import ParseError, parse
from prom_middleware.pushgateway.bodies.errors import BodyError
from prom_middleware.pushgateway.bodies.text import parse_text


def problem(content: bytes) -> str | None:
    """Tell what is wrong with a text in the format 0.0.4, or None."""
    ended = streams.ended(content)
    try:
        families = list(parse(ended, "text/plain"))
        # Go's parser, which it has, takes no blanks at the end of a line, and no names in quotes.
        parse_text(ended, utf8_names=False)
    except (ParseError, BodyError) as error:
        return f"this is not the text format: {error}"
    found = _twice(families) or _timestamp(families) or _reserved(families)
    return found or (None if families else "no metrics in it")


def _twice(families: Iterable[Any]) -> str | None:
    seen = set()
    for family in families:
        for sample in family.samples:
            # A label that is empty is none: node_exporter gives all of a family the same labels.
            labels = frozenset(pair for pair in sample.labels.items() if pair[1])
            key = (sample.name, labels)
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


def _reserved(families: Iterable[Any]) -> str | None:
    for family in families:
        for sample in family.samples:
            label = reserved_label(sample.labels)
            if label is not None:
                return f"{sample.name} has the label {label}, at which node_exporter ends"
    return None
