"""What names may be in Prometheus' data model, and what samples of a family are called.

https://prometheus.io/docs/concepts/data_model/

Patterns as text: who imports a door need not wait until all of them are compiled.
"""

from __future__ import annotations

import re

METRIC_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
# What a family's samples are called beside its own name, by its type.
SUFFIXES: dict[str, tuple[str, ...]] = {
    "counter": ("_total", "_created"),
    "summary": ("_sum", "_count", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "info": ("_info",),
}


def names_of(family: str, kind: str) -> list[str]:
    """Return the names that nobody else's families and samples may have on the same page."""
    return [family, *(family + suffix for suffix in SUFFIXES.get(kind, ()))]


def is_label_name(name: object) -> bool:
    """Tell whether somebody may call a label so."""
    return (
        isinstance(name, str)
        and re.fullmatch(LABEL_NAME, name) is not None
        and not name.startswith("__")
    )
