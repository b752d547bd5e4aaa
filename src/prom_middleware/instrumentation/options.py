"""The types of the options, for those who check types: nothing else imports this."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from prom_middleware.instrumentation.config import Exclusion, LabelValue


class Options(TypedDict, total=False):
    """What every door takes as keyword arguments; `Configuration` says what each means."""

    metrics_path: str | None
    registry: CollectorRegistry
    preset: str | Sequence[str]
    buckets: Iterable[float]
    exclude: Exclusion | Iterable[Exclusion]
    labels: Mapping[str, LabelValue]
    access: Callable[[Any], object] | None
    max_series: int
    exemplars: bool
    native_histograms: bool
