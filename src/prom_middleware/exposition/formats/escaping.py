"""Names that are not of the classic characters, for readers that know no others.

https://prometheus.io/docs/instrumenting/escaping_schemes/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain

from prometheus_client import Metric as MetricFamily

from prom_middleware import naming

UNDERSCORES, DOTS, VALUES, ALLOW_UTF_8 = "underscores", "dots", "values", "allow-utf-8"
SCHEMES = (UNDERSCORES, DOTS, VALUES, ALLOW_UTF_8)

_METRIC = re.compile(naming.METRIC_NAME)
_LABEL = re.compile(naming.LABEL_NAME)
# What is not of the classic characters, at the beginning and after it. Colons are for metrics only.
_ODD_METRIC = re.compile(r"^[^a-zA-Z_:]|(?<!^)[^a-zA-Z0-9_:]", re.DOTALL)
_ODD_LABEL = re.compile(r"^[^a-zA-Z_]|(?<!^)[^a-zA-Z0-9_]", re.DOTALL)
# What a name cannot have in any form: Prometheus' parsers end at a NUL.
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_LONE = re.compile("[\ud800-\udfff]")

# Endings that stand in a family's whole name, but not in `MetricFamily.name`.
OWN_SUFFIX = {"counter": "_total", "info": "_info"}
# Types that have no unit, and what must not be in one.
UNITLESS, UNIT_CHARACTERS = ("info", "stateset"), frozenset('"\\\n')
# Endings that a sample's name may have after its family's.
SUFFIXES = frozenset(("", *chain.from_iterable(naming.SUFFIXES.values())))


def is_classic(name: str) -> bool:
    """Tell whether a metric's name can stand without quotes."""
    return _METRIC.fullmatch(name) is not None


def encoded(text: str) -> bytes:
    """Return text as UTF-8; half a character, as file names have it, is shown by its number.

    It stays apart from others that way: what has the same labels would be there twice.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _LONE.sub(lambda found: f"\N{REPLACEMENT CHARACTER}{ord(found[0]):x}", text).encode()


def escape_metric_name(name: str, scheme: str) -> str:
    """Return a metric's name in `scheme`; classic ones stay as they are. Raise for an empty one.

    A name that cannot be written in `ALLOW_UTF_8` is as `VALUES` has it.
    """
    return _escape(name, scheme, _METRIC, _ODD_METRIC)


def escape_label_name(name: str, scheme: str) -> str:
    """Return a label's name in `scheme`, as `escape_metric_name` does."""
    return _escape(name, scheme, _LABEL, _ODD_LABEL)


def escape_label_names(names: Sequence[str], scheme: str) -> list[str]:
    """Return labels' names in `scheme`; raise ValueError where two are the same then."""
    escaped = [escape_label_name(name, scheme) for name in names]
    if len(set(escaped)) < len(escaped):  # readers refuse the whole exposition for it
        raise ValueError(f"labels {list(names)} have names that {scheme!r} makes equal")
    return escaped


def _escape(name: str, scheme: str, classic: re.Pattern[str], odd: re.Pattern[str]) -> str:
    if not name:
        raise ValueError("a metric or a label has no name")
    if classic.fullmatch(name) or (scheme == ALLOW_UTF_8 and not _UNWRITABLE.search(name)):
        return name
    if scheme == UNDERSCORES:
        return odd.sub("_", name)
    if scheme == DOTS:
        dotted = odd.sub(lambda found: "." if found[0] == "." else "__", name.replace("_", "__"))
        return dotted.replace(".", "_dot_")
    return "U__" + odd.sub(_hexadecimal, name.replace("_", "__"))


def _hexadecimal(found: re.Match[str]) -> str:
    code = ord(found[0])
    # Half of a surrogate pair is no character.
    return "_FFFD_" if 0xD800 <= code <= 0xDFFF else f"_{code:x}_"


def stem_of(family: MetricFamily, scheme: str) -> str:
    """Return what all names of a family's samples begin with, in `scheme`.

    The whole name is escaped, with `_total` or `_info`, and other endings are put to it as they
    are: as Go does it, so that a series has one name in all formats, and its type is recognised.
    """
    own = OWN_SUFFIX.get(family.type, "")
    whole = escape_metric_name(family.name + own, scheme)
    return whole[: -len(own)] if own else whole


def shown_unit(family: MetricFamily, name: str) -> str:
    """Return the unit to show beside a family's `name` as it is written; nothing where none may be.

    Readers refuse all of an exposition where it is no suffix of the name, or is beside a type that
    has no unit. OpenMetrics has no quotes for one.
    """
    unit: str = family.unit
    if not unit or family.type in UNITLESS or not UNIT_CHARACTERS.isdisjoint(unit):
        return ""
    own = "_total" if family.type == "counter" else ""
    return unit if name.removesuffix(own).endswith(f"_{unit}") else ""


def sample_name(family: MetricFamily, name: str, scheme: str) -> str:
    """Return the name of a sample of `family` in `scheme`."""
    ending = name.removeprefix(family.name)
    if ending in SUFFIXES and name.startswith(family.name):
        return stem_of(family, scheme) + ending
    return escape_metric_name(name, scheme)


def quote(text: str) -> str:
    """Return `text` between quotes."""
    return f'"{escape_value(text)}"'


def quoted_metric_name(name: str) -> str:
    """Return an escaped name as it stands after `# TYPE`."""
    return name if is_classic(name) else quote(name)


def quoted_label_name(name: str) -> str:
    """Return an escaped name as it stands before a value."""
    return name if _LABEL.fullmatch(name) else quote(name)


def escape_value(value: str) -> str:
    """Return a label's value as it stands between quotes."""
    if "\\" in value or "\n" in value or '"' in value:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value
