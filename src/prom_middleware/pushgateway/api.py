"""`/api/v1`: what is stored and how the gateway runs, as JSON.

https://github.com/prometheus/pushgateway#query-api
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from prom_middleware.exposition.responses import Answer, response
from prom_middleware.pushgateway.families import SIMPLE, SUMMARY, Distribution, Family, Metric
from prom_middleware.pushgateway.index import Part
from prom_middleware.pushgateway.numbers import go_sprint
from prom_middleware.pushgateway.store import Group

# Scripts of other sites may read.
CORS = (
    ("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin"),
    ("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Date"),
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
)


def success(data: Any, status: int = 200) -> Answer:
    """Return an answer with `data`."""
    body = json.dumps(
        {"status": "success", "data": data}, ensure_ascii=False, separators=(",", ":")
    )
    # The name of a file may be any bytes; what is no UTF-8 of it is an escape of JSON's.
    content = body.encode(errors="backslashreplace")
    return response(status, ("Content-Type", "application/json"), *CORS, parts=[content])


def metrics(groups: list[Group]) -> Answer:
    """Return all groups with their families."""
    return success([_group(group) for group in groups])


def status(flags: Mapping[str, str], build: Mapping[str, str], started_ns: int) -> Answer:
    """Return how the gateway was started, and when."""
    data = {
        "build_information": dict(build),
        "flags": dict(flags),
        "start_time": timestamp(started_ns),
    }
    return success(data)


def timestamp(nanoseconds: int) -> str:
    """Return a time as RFC 3339 has it, in UTC."""
    seconds, rest = divmod(nanoseconds, 10**9)
    whole = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{rest:09d}Z"


def _group(group: Group) -> dict[str, Any]:
    families = {name: _family(part) for name, part in group.parts.items()}
    own = {"labels": dict(group.key), "last_push_successful": group.succeeded}
    return dict(sorted({**families, **own}.items()))


def _family(part: Part) -> dict[str, Any]:
    family = part.family
    said = {"help": family.help} if family.help else {}
    return {
        "time_stamp": timestamp(part.pushed_ns),
        "type": family.type,
        **said,
        "metrics": [_metric(family, metric) for metric in family.metrics],
    }


def _metric(family: Family, metric: Metric) -> dict[str, Any]:
    labels = {"labels": dict(metric.labels)}
    if family.type in SIMPLE:
        return {**labels, "value": go_sprint(metric.value)}
    value: Distribution = metric.value
    points = "quantiles" if family.type == SUMMARY else "buckets"
    found = {
        **labels,
        points: dict(sorted((go_sprint(bound), go_sprint(one)) for bound, one in value.points)),
        "count": go_sprint(value.count),
        "sum": go_sprint(value.sum),
    }
    return dict(sorted(found.items()))
