"""promtool's rules, in its words: https://prometheus.io/docs/practices/naming/.

They are client_golang's (testutil/promlint), as of Prometheus 3.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from prom_middleware.check.page import Family
from prom_middleware.check.problems import Found, Page, Rule
from prom_middleware.parser.declared import BOUNDS

_CAMEL_CASE = re.compile(r"[a-z][A-Z]")

# Units, and what they are to be counted in.
UNITS = {
    **{unit: unit for unit in ("amperes", "bytes", "celsius", "grams", "joules", "kelvin")},
    **{unit: unit for unit in ("meters", "metres", "seconds", "volts")},
    **dict.fromkeys(("minutes", "hours", "days", "weeks"), "seconds"),
    **dict.fromkeys(("fahrenheit", "rankine"), "celsius"),
    **dict.fromkeys(("inches", "yards", "miles"), "meters"),
    **dict.fromkeys(("pounds", "ounces"), "grams"),
    "kelvins": "kelvin",
    "bits": "bytes",
    "calories": "joules",
}
PREFIXES = (
    *("pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi"),
    *("mega", "mibi", "giga", "gibi", "tera", "tebi", "peta", "pebi"),
)
# promtool has a misprint for the first, and no more of them.
MORE_PREFIXES = ("mebi", "exbi", "exa", "zebi", "yobi")
ABBREVIATIONS = ("s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d")


def _help(family: Family, page: Page) -> Iterator[Found]:
    if not family.help:
        yield Found("no help text")


def unit_in(name: str, prefixes: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the first unit in a name, with its prefix, and its base unit."""
    for part in name.split("_"):
        for prefix in ("", *prefixes):
            base = UNITS.get(part.removeprefix(prefix)) if part.startswith(prefix) else None
            if base is not None:
                return part, base
    return None


def _unit(family: Family, page: Page) -> Iterator[Found]:
    unit, base = unit_in(family.name, PREFIXES) or ("", "")
    if unit != base:
        yield Found(f'use base unit "{base}" instead of "{unit}"')


def _more_units(family: Family, page: Page) -> Iterator[Found]:
    unit, base = unit_in(family.name, MORE_PREFIXES) or ("", "")
    if unit != base and not unit_in(family.name, PREFIXES):
        yield Found(f'use base unit "{base}" instead of "{unit}"')


def _total(family: Family, page: Page) -> Iterator[Found]:
    has_total = family.name.endswith("_total")
    if family.type == "counter" and not has_total:
        yield Found('counter metrics should have "_total" suffix')
    if family.type not in ("counter", "untyped") and has_total:
        yield Found('non-counter metrics should not have "_total" suffix')


def _timestamp(family: Family, page: Page) -> Iterator[Found]:
    if family.type not in ("gauge", "untyped") and family.name.endswith("_timestamp_seconds"):
        yield Found('non-gauge metrics should not have "_timestamp_seconds" suffix')


# Endings, the types that have them, and how those are called.
_RESERVED = (
    ("_bucket", ("histogram",), "non-histogram"),
    ("_count", ("histogram", "summary"), "non-histogram and non-summary"),
    ("_sum", ("histogram", "summary"), "non-histogram and non-summary"),
)


def _endings(family: Family, page: Page) -> Iterator[Found]:
    for ending, types, others in _RESERVED:
        if family.type not in (*types, "untyped") and family.name.endswith(ending):
            yield Found(f'{others} metrics should not have "{ending}" suffix')


def _labels(family: Family, page: Page) -> Iterator[Found]:
    for kind, label in BOUNDS.items():
        if family.type in (kind, "untyped"):
            continue
        line = next((line for sample, line in family.rows if label in sample.labels), None)
        if line is not None:
            yield Found(f'non-{kind} metrics should not have "{label}" label', line)


def _type(family: Family, page: Page) -> Iterator[Found]:
    if family.type != "untyped" and _has_part(family.name, family.type):
        yield Found(f"metric name should not include type '{family.type}'")


def _has_part(name: str, part: str) -> bool:
    name = name.lower()
    return f"_{part}_" in name or name.endswith(f"_{part}")


def _colon(family: Family, page: Page) -> Iterator[Found]:
    if ":" in family.name:
        yield Found("metric names should not contain ':'")


def _camel_case(family: Family, page: Page) -> Iterator[Found]:
    text = "names should be written in 'snake_case' not 'camelCase'"
    if _CAMEL_CASE.search(family.name):
        yield Found(f"metric {text}")
    for sample, line in family.rows:
        if any(_CAMEL_CASE.search(label) for label in sample.labels):
            yield Found(f"label {text}", line)
            return


def _abbreviations(family: Family, page: Page) -> Iterator[Found]:
    if any(_has_part(family.name, one) for one in ABBREVIATIONS):
        yield Found("metric names should not contain abbreviated units")


def _unique(family: Family, page: Page) -> Iterator[Found]:
    """Find series that are there twice; labels in another order make another one for promtool."""
    if family.type in BOUNDS:
        return
    seen = set()
    for sample, line in family.rows:
        labels = tuple(sample.labels.items())
        if labels in seen:
            yield Found("metric not unique", line)
            return
        seen.add(labels)


PROMTOOL: dict[str, Rule] = {
    "help": _help,
    "unit": _unit,
    "total-suffix": _total,
    "reserved-suffix": _endings,
    "reserved-label": _labels,
    "type-in-name": _type,
    "colon": _colon,
    "camel-case": _camel_case,
    "abbreviation": _abbreviations,
    "unique": _unique,
}
# What newer ones than 3.5 have, and what none has.
MORE: dict[str, Rule] = {"timestamp-suffix": _timestamp, "more-units": _more_units}
