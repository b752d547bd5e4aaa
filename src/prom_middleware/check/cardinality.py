"""How many series a family has, and which label makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prom_middleware.check.page import Family
from prom_middleware.check.problems import Found, Page, Rule
from prom_middleware.parser.declared import BOUNDS

# The blanks between columns, as promtool has them.
_PADDING = 4


class Cardinality(NamedTuple):
    """The number of a family's series as promtool counts them, and the label with most values."""

    metric: str
    series: int
    share: float
    label: str
    values: int


def widest_label(family: Family) -> tuple[str, int]:
    """Return the label with the most values, and how many; an empty one where there is none."""
    values: dict[str, set[str]] = {}
    inner = BOUNDS.get(family.type)
    for sample, _ in family.rows:
        for name, value in sample.labels.items():
            if name != inner:
                values.setdefault(name, set()).add(value)
    counted = [(len(found), name) for name, found in values.items()]
    most, name = max(counted, key=lambda one: (one[0], one[1]), default=(0, ""))
    return name, most


def _series(family: Family) -> int:
    inner = BOUNDS.get(family.type)
    if inner is None:
        return len(family.rows)
    # promtool takes the first label set's buckets for those of all, beside a sum and a count.
    first = next(iter(family.series.values()))
    return len(family.series) * (2 + sum(inner in row.sample.labels for row in first))


def cardinalities(families: Iterable[Family]) -> list[Cardinality]:
    """Return the families by their number of series, the largest first."""
    counted = [(family, _series(family)) for family in families]
    total = sum(number for _, number in counted) or 1
    found = [
        Cardinality(family.name, number, number / total, *widest_label(family))
        for family, number in counted
    ]
    return sorted(found, key=lambda one: (-one.series, one.metric))


def table(found: Iterable[Cardinality]) -> str:
    """Return promtool's table, with the label that has the most values at the end of each line."""
    rows = [("Metric", "Cardinality", "Percentage", "Label (values)")]
    total = 0
    for one in found:
        total += one.series
        label = f"{one.label} ({one.values})" if one.label else ""
        rows.append((one.metric, str(one.series), f"{one.share * 100:.2f}%", label))
    rows.append(("Total", str(total), "100%", ""))
    widths = [max(len(row[column]) for row in rows) + _PADDING for column in range(3)]
    lines = ("".join(map(str.ljust, row, (*widths, 0))) for row in rows)
    return "".join(f"{line}\n" for line in lines)


def high_cardinality(limit: int) -> Rule:
    """Return the rule that a family has no more label sets than `limit`."""

    def rule(family: Family, page: Page) -> Iterator[Found]:
        sets = len(family.series) if len(family.rows) > limit else 0
        if sets > limit:
            label, values = widest_label(family)
            yield Found(f'high cardinality: {sets} label sets; label "{label}" has {values} values')

    return rule
