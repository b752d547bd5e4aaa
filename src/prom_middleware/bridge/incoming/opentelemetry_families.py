"""What OpenTelemetry's metrics are in Prometheus: names, labels, types.

https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

from opentelemetry.sdk.metrics.export import ExponentialHistogram, Gauge, Histogram, Sum
from prometheus_client.core import Exemplar, Metric

from prom_middleware import failures
from prom_middleware.bridge.incoming.names import label_name
from prom_middleware.bridge.incoming.native import native_sample
from prom_middleware.bridge.incoming.receiver import OWN_LABELS
from prom_middleware.errors import MetricConflictError
from prom_middleware.exposition.formats.lines import number as go_number

Families = dict[str, Metric]
Labels = Mapping[str, str]
INF = float("inf")
# Units of UCUM, in Prometheus' words.
UNITS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds",
    "us": "microseconds", "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes",
    "MiBy": "mebibytes", "GiBy": "gibibytes", "TiBy": "tibibytes", "KBy": "kilobytes",
    "kBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes", "m": "meters",
    "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams", "Cel": "celsius",
    "Hz": "hertz", "%": "percent",
}  # fmt: skip
PER = {
    "s": "second", "m": "minute", "min": "minute", "h": "hour", "d": "day", "wk": "week",
    "mo": "month", "a": "year",
}  # fmt: skip
_ANNOTATION = re.compile(r"\{[^}]*\}")
_NO_NAME = re.compile(r"[^a-zA-Z0-9:]+")


def add(families: Families, metric: Any, scope: Labels) -> None:
    """Add an SDK's metric to the family of its name; one of another type is left out."""
    kind = _kind(metric.data)
    name = name_of(metric.name, metric.unit or "", kind)
    family = families.get(name)
    if family is None:
        family = families[name] = Metric(name, metric.description or "", kind)
    if family.type != kind:
        conflict = MetricConflictError(f"{name} is a {family.type} and a {kind}")
        failures.report("bridge.opentelemetry", conflict)
        return
    add_point, own = _POINTS[type(metric.data)], OWN_LABELS.get(kind, "")
    for point in metric.data.data_points:
        add_point(family, point, {**labels_of(point.attributes, own), **scope})


def add_target_info(families: Families, attributes: Mapping[str, Any]) -> None:
    """Add the resource as `target_info`."""
    family = families.setdefault("target", Metric("target", "Target metadata", "info"))
    family.add_sample("target_info", labels_of(attributes), 1)


def scope_labels_of(scope: Any) -> dict[str, str]:
    """Return the labels that tell which instrumentation something is from."""
    labels = {"otel_scope_name": scope.name, "otel_scope_version": scope.version}
    return {label: value for label, value in labels.items() if value}


def name_of(name: str, unit: str, kind: str) -> str:
    """Return a family's name: with its unit, without the `_total` that a counter's sample has."""
    words = _NO_NAME.sub("_", name).strip("_") or "_"
    if words[0].isdigit():
        words = f"_{words}"
    if kind == "counter":
        words = words.removesuffix("_total")
    suffix = unit_suffix(unit, kind)
    return words if not suffix or words.endswith(f"_{suffix}") else f"{words}_{suffix}"


def unit_suffix(unit: str, kind: str) -> str:
    """Return a unit in words: `By/s` is bytes_per_second, `{requests}` none, a gauge's 1 ratio."""
    if unit == "1":
        return "ratio" if kind == "gauge" else ""
    of, _, per = _ANNOTATION.sub("", unit).partition("/")
    first = UNITS.get(of, _NO_NAME.sub("_", of).strip("_"))
    second = PER.get(per, _NO_NAME.sub("_", per).strip("_"))
    return "_".join(word for word in (first, f"per_{second}" if second else "") if word)


def labels_of(attributes: Mapping[str, Any] | None, own: str = "") -> dict[str, str]:
    """Return attributes as labels; values of those with one name then are joined by `;`.

    One that would be the label `own`, which the type has itself, is called as Prometheus calls what
    a scrape has of its labels: `exported_le`. Without it, two points could be the same series.
    """
    values: dict[str, list[str]] = {}
    for key, value in sorted((attributes or {}).items()):
        name = label_name(key)
        values.setdefault(f"exported_{name}" if name == own else name, []).append(_text(value))
    return {label: ";".join(texts) for label, texts in values.items()}


def _text(value: Any) -> str:
    """Return an attribute's value as JSON has it, strings as they are."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _kind(data: Any) -> str:
    if isinstance(data, Histogram | ExponentialHistogram):
        return "histogram"
    return "counter" if isinstance(data, Sum) and data.is_monotonic else "gauge"


def _add_number(family: Metric, point: Any, labels: dict[str, str]) -> None:
    is_counter = family.type == "counter"
    exemplars = _exemplars(point) if is_counter else []
    name = f"{family.name}_total" if is_counter else family.name
    family.add_sample(name, labels, point.value, exemplar=exemplars[-1] if exemplars else None)


def _add_histogram(family: Metric, point: Any, labels: dict[str, str]) -> None:
    bounds = [*point.explicit_bounds, INF]
    exemplars = {bisect_left(bounds, one.value): one for one in _exemplars(point)}
    for place, count in enumerate(accumulate(point.bucket_counts or [point.count])):
        bound = {"le": go_number(bounds[place])}
        family.add_sample(
            f"{family.name}_bucket", {**labels, **bound}, count, exemplar=exemplars.get(place)
        )
    _add_count_and_sum(family, point, labels)


def _add_exponential(family: Metric, point: Any, labels: dict[str, str]) -> None:
    """Add a native histogram, and what readers see who do not know those."""
    family.add_sample(f"{family.name}_bucket", {**labels, "le": "+Inf"}, point.count)
    _add_count_and_sum(family, point, labels)
    native = native_sample(family.name, labels, point)
    if native is not None:
        family.samples.append(native)


def _add_count_and_sum(family: Metric, point: Any, labels: dict[str, str]) -> None:
    family.add_sample(f"{family.name}_count", labels, point.count)
    family.add_sample(f"{family.name}_sum", labels, point.sum)


def _exemplars(point: Any) -> list[Exemplar]:
    """Return the exemplars of a point, which the SDK has since 1.28."""
    return [_exemplar(one) for one in getattr(point, "exemplars", ())]


def _exemplar(one: Any) -> Exemplar:
    labels = labels_of(one.filtered_attributes)
    if one.trace_id is not None and one.span_id is not None:
        labels.update(trace_id=f"{one.trace_id:032x}", span_id=f"{one.span_id:016x}")
    return Exemplar(labels, one.value, one.time_unix_nano / 1e9)


_POINTS: dict[type, Callable[[Metric, Any, dict[str, str]], None]] = {
    Sum: _add_number,
    Gauge: _add_number,
    Histogram: _add_histogram,
    ExponentialHistogram: _add_exponential,
}
