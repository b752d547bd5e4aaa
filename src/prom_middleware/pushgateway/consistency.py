"""What may stand beside each other in one exposition, by the rules of Go's reference registry.

Only what a push touches is looked at, so it costs the same beside any number of other series.
https://pkg.go.dev/github.com/prometheus/client_golang/prometheus#Gatherers
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from prom_middleware.exposition.formats.escaping import UNDERSCORES, escape_label_name
from prom_middleware.parser.line import go_quoted
from prom_middleware.pushgateway.families import (
    GAUGE_HISTOGRAM,
    HISTOGRAM,
    SIMPLE,
    SUMMARY,
    Family,
    Foreign,
    Labels,
    Metric,
    label_names,
)
from prom_middleware.pushgateway.index import NameIndex
from prom_middleware.pushgateway.rendering import shown_metric

PUSH_TIME, PUSH_FAILURE_TIME = "push_time_seconds", "push_failure_time_seconds"
STAMPS = frozenset((PUSH_TIME, PUSH_FAILURE_TIME))
# More of them help nobody.
MOST_SHOWN = 10
# No reader takes it in a name.
NUL = "\0"

# The label that tells the parts of one metric apart, by its type.
_INNER = {SUMMARY: "quantile", HISTOGRAM: "le", GAUGE_HISTOGRAM: "le"}
# The types whose samples have names of their own, by the endings of these.
_TAKEN = {"_count": (SUMMARY, HISTOGRAM), "_sum": (SUMMARY, HISTOGRAM), "_bucket": (HISTOGRAM,)}


class InconsistentError(Exception):
    """A push that would spoil the exposition; its text goes to whoever has sent it."""


class OwnFamily(NamedTuple):
    """A family of the gateway itself: where `is_fixed`, a pushed one has its help replaced."""

    type: str
    help: str
    is_fixed: bool


class Surroundings(NamedTuple):
    """What a push comes to stand beside.

    `stays` tells of a name whether the group itself has it, and keeps it. Where it does not
    `matter`, only what could not be exposed at all is a problem.
    """

    key: Labels
    names: Mapping[str, NameIndex]
    own: Mapping[str, OwnFamily]
    stays: Callable[[str], bool]
    matters: bool = True

    def type_of(self, name: str) -> str | None:
        """Return the type that a name has outside of the push."""
        if name in self.own:
            return self.own[name].type
        index = self.names.get(name)
        if index is None:
            return None
        return index.type if self.stays(name) else index.others_type(self.key)


def check(pushed: Mapping[str, Family], around: Surroundings) -> None:
    """Raise InconsistentError where the families of a push cannot be exposed together."""
    problems = [
        problem for name in sorted(pushed) for problem in _problems(pushed[name], pushed, around)
    ]
    if len(problems) == 1:
        raise InconsistentError(problems[0])
    if problems:
        shown = "".join(f"\n* {problem}" for problem in problems[:MOST_SHOWN])
        raise InconsistentError(f"{len(problems)} error(s) occurred:{shown}")


def _problems(family: Family, pushed: Mapping[str, Family], around: Surroundings) -> Iterator[str]:
    problem = _name(family) or _own(family, around)
    if problem is None and around.matters:
        problem = _collision(family, pushed, around)
    if problem:
        yield problem
        return
    type_ = _type_to_have(family, around)
    index = around.names.get(family.name) if around.matters else None
    owners = index.owners if index else {}
    seen: set[Labels] = set()
    for metric in family.metrics:
        problem = _metric(family, metric, type_)
        owner = owners.get(metric.labels, around.key)
        if problem is None and (metric.labels in seen or owner != around.key):
            problem = "was collected before with the same name and label values"
        seen.add(metric.labels)
        if problem:
            shown = shown_metric(family.type, metric)
            yield f"collected metric {go_quoted(family.name)} {{ {shown}}} {problem}"


def _name(family: Family) -> str | None:
    is_named = family.name and NUL not in family.name
    if is_named and not _surrogates(family.name + (family.help or "")):
        return None
    return f"collected metric family has an invalid name or help: {go_quoted(family.name)}"


def _surrogates(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text)


def _own(family: Family, around: Surroundings) -> str | None:
    own = around.own.get(family.name)
    if own is None:
        return None
    begin = f"gathered metric family {family.name} has"
    if not own.is_fixed and own.help != (family.help or ""):
        given = go_quoted(family.help or "")
        return f"{begin} help {given} but should have {go_quoted(own.help)}"
    if own.type != family.type:
        return f"{begin} type {family.type} but should have {own.type}"
    return None


def _type_to_have(family: Family, around: Surroundings) -> str:
    if family.name in STAMPS:
        # A push may bring them, of another type: that must not keep other groups out.
        return family.type if family.type in SIMPLE else "GAUGE"
    if family.name in around.own:
        return around.own[family.name].type
    index = around.names.get(family.name) if around.matters else None
    return (index and index.others_type(around.key)) or family.type


def _collision(family: Family, pushed: Mapping[str, Family], around: Surroundings) -> str | None:
    def type_of(name: str) -> str | None:
        return pushed[name].type if name in pushed else around.type_of(name)

    name = family.name
    for ending, types in _TAKEN.items():
        base = name.removesuffix(ending)
        if base != name and (found := type_of(base)) in types:
            return (
                f"collected metric named {go_quoted(name)} collides with previously collected "
                f"{found.lower()} named {go_quoted(base)}"
            )
        if family.type in types and type_of(name + ending):
            kind = "histogram" if ending == "_bucket" else "histogram or summary"
            return (
                f"collected {kind} named {go_quoted(name)} collides with previously collected "
                f"metric named {go_quoted(name + ending)}"
            )
    return None


def _metric(family: Family, metric: Metric, type_: str) -> str | None:
    if family.type != type_ or isinstance(metric.value, Foreign):
        return f"is not a {type_}"
    names = label_names(metric.labels)
    problem = _names_problem(names, _INNER.get(family.type, ""))
    if problem or "".join([value for _, value in metric.labels]).isascii():
        return problem
    for name, value in metric.labels:
        if _surrogates(value):
            return (
                f"has a label named {go_quoted(name)} whose value is not utf8: {go_quoted(value)}"
            )
    return None


@lru_cache(maxsize=10_000)
def _names_problem(names: tuple[str, ...], inner: str) -> str | None:
    for name, following in pairwise(names):
        if name == following:
            return f"has two or more labels with the same name: {name}"
    for name in names:
        if not name or name.startswith("__") or NUL in name or _surrogates(name):
            return f"has a label with an invalid name: {name}"
        if name == inner:  # its parts would have it twice
            return f"must not have an explicit {go_quoted(name)} label"
    if len({*map(_escaped, names)}) < len(names):  # a page with them is no exposition
        return "has labels whose names are the same when they are escaped"
    return None


def _escaped(name: str) -> str:
    return escape_label_name(name, UNDERSCORES)
