"""Names and labels that Prometheus takes, made from any text as statsd_exporter does it."""

from __future__ import annotations

import re

# Several dashes are one underscore there.
_NO_NAME = re.compile(r"-+|[^a-zA-Z0-9_]")
_NO_NAME_OR_COLON = re.compile(r"[^a-zA-Z0-9_:]")


def metric_name(text: str, *, colons: bool = False) -> str:
    """Return `text` as a metric's name; graphite_exporter leaves colons in it."""
    name = (_NO_NAME_OR_COLON if colons else _NO_NAME).sub("_", text)
    return f"_{name}" if name[:1].isdigit() else name


def label_name(text: str) -> str:
    """Return `text` as a label's name; two underscores before it are Prometheus' own."""
    name = metric_name(text)
    return f"_{name.lstrip('_')}" if name.startswith("__") else name
