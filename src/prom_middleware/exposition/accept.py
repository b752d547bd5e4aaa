"""Headers that say what is acceptable (RFC 9110 section 12): ranges with parameters and weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

# Longer headers are nobody's; nothing is read of them.
LONGEST = 8192

# One pass, whatever comes: a quote that is not closed (section 5.6.4) lasts to the end.
_PART = re.compile(r'"(?:[^"\\]|\\.)*"?|[^",;]+|[,;]', re.DOTALL)
_WEIGHT = re.compile(r"[01](?:\.[0-9]*)?|\.[0-9]+")


class Range(NamedTuple):
    """One of the things that a header names; names are in lower case."""

    name: str
    parameters: Mapping[str, str]
    weight: float


def ranges(header: str) -> list[Range]:
    """Return what a header names, in its order; what is malformed is left out."""
    if len(header) > LONGEST:
        return []
    members: list[list[str]] = [[""]]
    for part in _PART.findall(header):
        if part == ",":
            members.append([""])
        elif part == ";":
            members[-1].append("")
        else:
            members[-1][-1] += part
    return [found for member in members if (found := _range(*member)) is not None]


def _range(name: str, *fields: str) -> Range | None:
    parameters: dict[str, str] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        if equals:
            parameters.setdefault(key.strip().lower(), _unquoted(value.strip()))
    weight = parameters.pop("q", "1")
    if not name.strip() or not _WEIGHT.fullmatch(weight) or float(weight) > 1:
        return None
    return Range(name.strip().lower(), parameters, float(weight))


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
    return value
