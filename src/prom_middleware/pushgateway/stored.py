"""Families as they are stored: JSON, which the `sqlite3` program shows to whoever wants to look."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

from prom_middleware.pushgateway.families import (
    SIMPLE,
    TYPES,
    Distribution,
    Family,
    Labels,
    Metric,
)

_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def dump(family: Family) -> str:
    """Return a family as text; what is not a number in Python's words, `NaN` and `Infinity`."""
    metrics = [_dumped(metric, family.type) for metric in family.metrics]
    return _encode([family.type, family.help, metrics])


def _dumped(metric: Metric, type_: str) -> list[Any]:
    labels, value, message, _ = metric
    if type_ not in SIMPLE:
        value = (value.count, value.sum, value.points)
    return [labels, value] if message is None else [labels, value, b64encode(message).decode()]


def load(name: str, text: str) -> Family:
    """Return the family that a text is; raise ValueError for what is none."""
    try:
        type_, documentation, metrics = json.loads(text)
        if type_ not in TYPES:
            raise ValueError(f"{type_!r} is no type")
        return Family(name, type_, documentation, [_metric(one, type_) for one in metrics])
    except (TypeError, KeyError) as error:
        raise ValueError(f"{name} is no family: {error}") from error


def _metric(stored: list[Any], type_: str) -> Metric:
    labels, value, *message = stored
    if type_ in SIMPLE:
        value = float(value)
    else:
        count, total, points = value
        value = Distribution(count, total, tuple((bound, number) for bound, number in points))
    return Metric(_pairs(labels), value, b64decode(message[0]) if message else None)


def _pairs(labels: list[Any]) -> Labels:
    return tuple((str(name), str(value)) for name, value in labels)
