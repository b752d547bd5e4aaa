"""What the report says of the Pushgateway; the figures are those of `pushgateway.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.figures import Figure, Target
from benchmarks.tables import table

METHOD = """\
Beside Debian's `prometheus-pushgateway`, in turns, each a process of its own with a file to keep
groups in: ours has stored every push before it answers, the original writes its file every five
minutes. One connection that stays open; a small group has three metrics.
"""
ROWS = (
    ("pushes", "small", "push of a small group", 1.0),
    ("stored", "one", "push of one sample beside {series:,} series", 0.1),
    ("stored", "scrape", "scrape of {series:,} series", 1.0),
    ("stored", "all", "push of {series:,} series", None),
)

Pushed = dict[str, dict[str, Any]]


def targets(figures: Pushed) -> Iterator[Target]:
    """Yield every target with what was measured."""
    for part, key, what, limit in ROWS:
        if limit is not None and figures.get(part):
            title = f"{what.format(**figures[part]['size'])}: ours / prometheus-pushgateway"
            yield Target.ratio(title, *_pair(figures[part][key]), limit)


def section(figures: Pushed) -> Iterator[str]:
    """Yield the parts of the section."""
    if not all(figures.get(part) for part, *_ in ROWS):
        return
    yield "## Pushgateway (ms)"
    yield METHOD.strip()
    yield table(("", "ours", "prometheus-pushgateway"), _rows(figures))


def _rows(figures: Pushed) -> Iterator[tuple[str, ...]]:
    for part, key, what, _ in ROWS:
        ours, theirs = (one.show(1e3) for one in _pair(figures[part][key]))
        yield what.format(**figures[part]["size"]), ours, theirs


def _pair(figures: dict[str, Any]) -> tuple[Figure, Figure]:
    return Figure(**figures["ours"]), Figure(**figures["theirs"])
