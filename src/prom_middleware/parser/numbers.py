"""Values and times, as Go's `strconv` reads them: not all that Python takes for a number is one."""

from __future__ import annotations

import math
import re

from prometheus_client.samples import Timestamp

_INTEGER = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity)|nan", re.IGNORECASE
)
_SECONDS = re.compile(r"([+-]?[0-9]+)(?:\.([0-9]*))?")
# Up to here every integer is less than the greatest float.
_DIGITS = 300
# No more of a page's numbers are kept at a time.
KEPT = 10_000


def number(text: str) -> float:
    """Return a value: an int where it is written as one, as `prometheus_client` has it.

    Raises ValueError for what is no number, and for one that no float can hold.
    """
    if _INTEGER.fullmatch(text) and len(text) < _DIGITS:
        return int(text) or (-0.0 if text[0] == "-" else 0)
    if not NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is no number")
    value = float(text)
    if math.isinf(value) and text[-1] not in "fFyY":
        raise ValueError(f"{text!r} is out of range")
    return value


def is_number(text: str) -> bool:
    """Tell whether a text is a number."""
    try:
        number(text)
    except ValueError:
        return False
    return True


class Numbers(dict[str, float]):
    """The numbers of a page by their texts, at most 299 letters, digits, signs and dots.

    Raises ValueError for what is no number.
    """

    def __missing__(self, text: str) -> float:
        value = float(text) if "." in text else number(text)
        if not math.isfinite(value):
            value = number(text)  # unless it is out of range
        if len(self) < KEPT:
            self[text] = value
        return value


def milliseconds(text: str) -> float:
    """Return a time of the text format in seconds. Raises ValueError."""
    if not _INTEGER.fullmatch(text) or not -(2**63) <= _small(text) < 2**63:
        raise ValueError(f"{text!r} is no number of milliseconds")
    return int(text) / 1000


def _small(text: str) -> int:
    return int(text) if len(text) < _DIGITS else 2**63


_new_timestamp = Timestamp.__new__


def timestamp(whole: str, part: str) -> Timestamp:
    """Return a time of whole seconds, not negative, and the digits after the dot, 9 at most."""
    made = _new_timestamp(Timestamp)  # its constructor takes three times as long
    made.sec = int(whole)
    made.nsec = int(part.ljust(9, "0")) if part else 0
    return made


def seconds(text: str) -> Timestamp | float:
    """Return a time of OpenMetrics. Raises ValueError."""
    found = _SECONDS.fullmatch(text)
    if found is not None and len(found[1]) < _DIGITS:
        return Timestamp(int(found[1]), int((found[2] or "")[:9].ljust(9, "0")))
    value = float(number(text))
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no time")
    return value
