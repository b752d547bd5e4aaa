"""How a metric of `prometheus_client` lies in a store: its family, and the cells of a block.

counter    value, uses
summary    count, sum, uses
histogram  sum, one for each bound, uses
gauge      value, time (Unix seconds; 0 unless mostrecent), 0 if it was never set, else 1 plus the
           number of removals of the label set before that
stateset   as a gauge that is mostrecent: the number of the state
info       uses; what it says is in notes
removal    flips: which of two copies is valid, the second after an odd number; a copy: how often
           the label set was removed, the last time (Unix seconds), and for what adds up the cells
           that are to be subtracted. All of it is a sum over all workers.

Labels are in the order of their names: which one a metric was made with may differ from process to
process, as that of a set does.

inheritance  nothing: that it is there says that a child of a process has brought what was counted
           before the fork

`uses` counts how often a label set was taken up again after it was removed; that of an info, how
often it said something.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

from prom_middleware.multiprocess.kinds import ADDITIVE, GAUGES
from prom_middleware.stores import Family, Labels

VALUE, TIME, SET = 0, 1, 2
GAUGE_WIDTH = 3
NUMBER, SINCE, AMOUNTS = 0, 1, 2

# What belongs to a family and is none itself.
REMOVAL, NOTE = "removal", "note"
SEPARATOR = "\0"
# The processes (`inherited.ROOT`) whose counts from before the fork somebody has brought.
INHERITANCES = Family("inheritances", ("root",), 1, kind="inheritance")


def kind_of(family: Family) -> str:
    """Return the type of the metric; nothing for what is no user's."""
    return family.kind.partition(SEPARATOR)[0]


def states_of(family: Family) -> list[str]:
    """Return the states of a stateset."""
    return family.kind.split(SEPARATOR)[1:]


def in_order(names: Iterable[str], values: Iterable[str]) -> Labels:
    """Return label values as a family has them, given those of a metric."""
    return tuple([value for _, value in sorted(zip(names, values, strict=True))])


def family_of(metric: Any, scope: str) -> Family:
    """Return the family of a metric or of its child, which is the same."""
    name, kind, text = metric._name, metric._type, _text(metric._documentation)
    labels = tuple(sorted(metric._labelnames))
    if kind == "gauge":
        mode = metric._multiprocess_mode
        live = mode.startswith("live")
        return Family(name, labels, GAUGE_WIDTH, live, scope, (), kind, text, mode)
    if kind == "stateset":
        kind = SEPARATOR.join((kind, *metric._states))
        return Family(name, labels, GAUGE_WIDTH, False, scope, (), kind, text, "mostrecent")
    bounds = tuple(metric._upper_bounds) if kind == "histogram" else ()
    width = ADDITIVE.get(kind, 0) + len(bounds) + 1
    return Family(name, labels, width, False, scope, bounds, kind, text)


def _text(documentation: Any) -> Any:
    """Return a help as text: one that is translated when it is shown cannot be written down."""
    is_text = documentation is None or type(documentation) is str
    return documentation if is_text else str(documentation)


def removals_of(family: Family) -> Family:
    """Return the family that says what was removed of the label sets of `family`."""
    kind = f"{REMOVAL}{SEPARATOR}{family.kind}"
    amounts = 0 if kind_of(family) in GAUGES else family.width
    width = 1 + 2 * (AMOUNTS + amounts)
    return family._replace(width=width, live=False, kind=kind, mode="")


def copies_of(removals: Family, offset: int, flips: float) -> tuple[int, int]:
    """Return where the valid copy of a block of `removals` begins, and where the other one."""
    first, second = offset + 1, offset + 1 + removals.width // 2
    return (second, first) if flips % 2 == 1 else (first, second)


def note_kind(family: Family) -> str:
    """Return the kind of what notes about the series of `family` are kept in."""
    return f"{NOTE}{SEPARATOR}{kind_of(family)}"


def notes_of(family: Family, width: int) -> Family:
    """Return the family of what is said in words of the series of `family`."""
    kind = note_kind(family)
    labels = (*family.label_names, "series")
    return Family(family.name, labels, width, scope=family.scope, kind=kind)


def select(families: Iterable[Any], names: Container[str]) -> Iterator[Any]:
    """Yield the samples with these names, in their families."""
    for family in families:
        shown = family._restricted_metric(names)
        if shown:
            yield shown
