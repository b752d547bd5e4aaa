"""Several groups in one request: a JSON list of `{"labels": {...}, "metrics": "..."}`."""

from __future__ import annotations

import json
from typing import Any

from prom_middleware.pushgateway.bodies import parse_body
from prom_middleware.pushgateway.bodies.codings import undo
from prom_middleware.pushgateway.bodies.errors import BodyError
from prom_middleware.pushgateway.families import Labels
from prom_middleware.pushgateway.grouping import GroupingError, checked_key
from prom_middleware.pushgateway.options import Setup
from prom_middleware.pushgateway.store import Push
from prom_middleware.pushgateway.ttl import ttl_of

WANTED = 'expected a JSON list of {"labels": {"job": "...", ...}, "metrics": "..."}'


def parse_pushes(body: bytes, coding: str, options: Setup, *, replace: bool) -> list[Push]:
    """Return what a body pushes; raise BodyError."""
    limit = options.max_body_bytes
    try:
        entries = json.loads(undo(body, coding, limit))
    except (ValueError, RecursionError) as error:
        raise BodyError(f"{WANTED}: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise BodyError(WANTED)
    return [_push(number, entry, options, replace) for number, entry in enumerate(entries)]


def _push(number: int, entry: Any, options: Setup, replace: bool) -> Push:
    labels, metrics = _parts(number, entry)
    try:
        key, ttl_ns = ttl_of(checked_key(labels, options.enable_utf8_names), options.push_ttl)
        body = metrics.encode("utf-8", "surrogateescape")
        names = options.enable_utf8_names
        families = parse_body(body, "", "", limit=options.max_body_bytes, utf8_names=names)
    except (BodyError, GroupingError, UnicodeEncodeError) as error:
        raise BodyError(f"entry {number}: {error}") from None
    return Push(key, families, replace, ttl_ns)


def _parts(number: int, entry: Any) -> tuple[Labels, str]:
    if isinstance(entry, dict) and entry.keys() == {"labels", "metrics"}:
        labels, metrics = entry["labels"], entry["metrics"]
        if isinstance(labels, dict) and isinstance(metrics, str):
            pairs = tuple(sorted((name, value) for name, value in labels.items()))
            if all(isinstance(value, str) for _, value in pairs):
                return pairs, metrics
    raise BodyError(f"entry {number}: {WANTED}")
