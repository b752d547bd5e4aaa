"""Native histograms in OpenMetrics, in the form that `prometheus_client` reads: an experiment.

`name{labels} {count:24,sum:100,schema:0,zero_threshold:0.001,zero_count:4,positive_spans:[0:2,1:2],
positive_deltas:[2,1,-3,3]}`, and the same with `negative`.
"""

from __future__ import annotations

import re
from typing import Any

import prometheus_client.samples as client
from prometheus_client.samples import Sample

from prom_middleware.parser.line import Line
from prom_middleware.parser.numbers import number

_FIELD = re.compile(r"(\w+):\s*(\[[^\]]*\]|[^,\[\]{}\s]+)(?:,\s*|(?=\}))")
_SPANS = re.compile(r"\[(?:-?[0-9]+:[0-9]+(?:,-?[0-9]+:[0-9]+)*)?\]")
_DELTAS = re.compile(r"\[(?:-?[0-9]+(?:,-?[0-9]+)*)?\]")
EXPECTED = "{count:…,sum:…,schema:…,zero_threshold:…,zero_count:…} with spans and deltas"


def read_native(line: Line, name: str, labels: dict[str, str]) -> Sample:
    """Read the value of a native histogram, from its bracket on. Raises ParseError."""
    start = line.at
    found, line.at = fields(line.text, start + 1)
    try:
        value = _histogram(found)
    except (KeyError, ValueError, AttributeError):
        raise line.error("invalid native histogram", start, EXPECTED) from None
    if line.text[line.at :] not in ("}", "}\n"):
        raise line.error("invalid native histogram", expected=EXPECTED)
    # Where there are no labels, prometheus_client has None.
    none: Any = labels or None
    nothing: Any = None
    return Sample(name, none, nothing, None, None, value)


def fields(text: str, at: int) -> tuple[dict[str, str], int]:
    """Return the fields that begin `at` a place, by their names, and where they end."""
    values: dict[str, str] = {}
    while (found := _FIELD.match(text, at)) is not None:
        values[found[1]] = found[2]
        at = found.end()
    return values, at


def _histogram(found: dict[str, str]) -> Any:
    return client.NativeHistogram(
        int(found["count"]),
        float(number(found["sum"])),
        int(found["schema"]),
        float(number(found["zero_threshold"])),
        int(found["zero_count"]),
        _spans(found.get("positive_spans", "[]")),
        _spans(found.get("negative_spans", "[]")),
        _deltas(found.get("positive_deltas", "[]")),
        _deltas(found.get("negative_deltas", "[]")),
    )


def _spans(text: str) -> tuple[Any, ...] | None:
    pairs = [pair.split(":") for pair in _listed(text, _SPANS)]
    return tuple(client.BucketSpan(int(at), int(length)) for at, length in pairs) or None


def _deltas(text: str) -> tuple[int, ...] | None:
    return tuple(map(int, _listed(text, _DELTAS))) or None


def _listed(text: str, pattern: re.Pattern[str]) -> list[str]:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text!r} is no list of this kind")
    inner = text[1:-1]
    return inner.split(",") if inner else []
