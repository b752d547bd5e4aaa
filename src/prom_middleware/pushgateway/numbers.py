"""Numbers as Go writes and reads them: the gateway's answers have them in both formats.

https://pkg.go.dev/strconv
"""

from __future__ import annotations

from prom_middleware.parser.numbers import number

_SPECIAL = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN", "0.0": "0", "-0.0": "0"}
# Below it, no exponent is needed.
_EXPONENT_FROM = 1e6


def go_float(value: float) -> str:
    """Return the shortest text of a float, with an exponent from a million on."""
    text = repr(float(value))
    if text in _SPECIAL:
        return _SPECIAL[text]
    if -_EXPONENT_FROM < value < _EXPONENT_FROM:
        return text.removesuffix(".0")
    return _with_exponent(text)


def go_sprint(value: float) -> str:
    """Return a number as Go's `fmt` does: a count, which is an int, without an exponent."""
    if isinstance(value, int):
        return str(value)
    # The exposition format has one zero, Go has two.
    return "-0" if repr(value) == "-0.0" else go_float(value)


def _with_exponent(text: str) -> str:
    if "e" in text:  # Python has one from 1e16 on
        return text
    sign, digits = ("-", text[1:]) if text[0] == "-" else ("", text)
    whole, _, fraction = digits.partition(".")
    significant = (whole + fraction).rstrip("0")
    rest = f".{significant[1:]}" if len(significant) > 1 else ""
    return f"{sign}{significant[0]}{rest}e+{len(whole) - 1:02d}"


def parse_go_float(text: str) -> float:
    """Return the number that a text in the exposition format is; raise ValueError for others."""
    return float(number(text))
