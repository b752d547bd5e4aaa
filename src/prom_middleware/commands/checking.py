"""What node_exporter would refuse: it leaves out a whole file for one wrong line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families


def problem(content: bytes) -> str | None:
    """Tell what is wrong with a text in the format 0.0.4, or None."""
    try:
        families = list(text_string_to_metric_families(content.decode()))
    except UnicodeDecodeError as error:
        return f"this is not UTF-8: {error}"
    except Exception as error:  # it raises whatever its parts raise
        return f"this is not the text format: {error}"
    return _twice(families) or _timestamp(families) or (None if families else "no metrics in it")


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
