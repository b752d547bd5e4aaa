"""Options: read once, when a door is made, into one immutable object."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import REGISTRY, CollectorRegistry

from prom_middleware.errors import (
    BucketsError,
    LabelNameError,
    OptionError,
    PresetError,
    ReservedLabelError,
)
from prom_middleware.instrumentation.labels import is_encodable
from prom_middleware.instrumentation.presets import PRESETS
from prom_middleware.instrumentation.series import DEFAULT_BUCKETS, Schema

if TYPE_CHECKING:
    from prom_middleware.instrumentation.labels import Facts

    LabelValue = str | Callable[[Facts], object]
    Exclusion = str | re.Pattern[str] | Callable[[str], object]

# The data model's label names; https://prometheus.io/docs/concepts/data_model/
LABEL_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
FORMAT_LABELS = frozenset({"le", "quantile"})
OUR_LABELS = frozenset({"method", "route", "status", "exception", "reason"})


class Configuration:
    """How one door behaves. `from_options` makes it; nothing changes it."""

    # Where the door answers scrapes, below the server's own root path; None: nowhere.
    metrics_path: str | None = "/metrics"
    # Any registry: a collector of ours is registered in it.
    registry: CollectorRegistry = REGISTRY
    # Names, several tables at once so that dashboards can move over.
    preset: tuple[str, ...] = ("default",)
    # Upper bounds of the latency histograms, in seconds, +Inf left out.
    buckets: tuple[float, ...] = DEFAULT_BUCKETS
    # Paths that are not recorded, as the application sees them.
    exclude: tuple[Exclusion, ...] = ()
    # More labels: constants, or functions of the request's facts.
    labels: Mapping[str, LabelValue] | None = None
    # Who may scrape; None: anybody.
    access: Callable[[Any], object] | None = None
    # Label sets per metric, beyond which there is one series for all.
    max_series: int = 2000
    # Trace ids beside the buckets, in the formats that can show them.
    exemplars: bool = True
    # Native beside classic buckets, in the formats that can show them.
    native_histograms: bool = False

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Configuration:
        """Check `options` and make a configuration.

        Raises a `ConfigurationError` that names the option, its value and the remedy.
        """
        for name in options:
            if name not in CHECKS:
                raise OptionError(f"unknown option {name!r}{_nearest(str(name), CHECKS)}")
        made = cls()
        vars(made).update({name: CHECKS[name](value) for name, value in options.items()})
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name!r}: a configuration cannot be changed")

    @property
    def metrics_paths(self) -> tuple[str, ...]:
        """Return what a door answers scrapes at: the path, with a slash at the end or without."""
        return () if self.metrics_path is None else (self.metrics_path, f"{self.metrics_path}/")

    @property
    def schema(self) -> Schema:
        """Return what doors on the same registry must have in common."""
        return Schema(self.preset, self.buckets, tuple(self.labels or ()), self.native_histograms)


def _nearest(name: str, known: Iterable[str]) -> str:
    import difflib  # only who is about to see an error waits for it

    near = difflib.get_close_matches(name, list(known), n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are {', '.join(sorted(known))}"


def _metrics_path(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"/[^?#]*[^?#/]/*", value):
        return value.rstrip("/")
    raise OptionError(f"metrics_path={value!r}: give a path that begins with '/', or None")


def _registry(value: object) -> CollectorRegistry:
    if isinstance(value, CollectorRegistry):
        return value
    raise OptionError(f"registry={value!r}: give a prometheus_client.CollectorRegistry")


def _preset(value: object) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not names:
        raise PresetError(f"preset={value!r}: give a preset's name, or a list of names")
    for name in names:
        if not isinstance(name, str) or name not in PRESETS:
            near = _nearest(str(name), PRESETS)
            raise PresetError(f"preset={value!r}: there is no preset {name!r}{near}")
    return tuple(dict.fromkeys(cast("Iterable[str]", names)))


def _buckets(value: object) -> tuple[float, ...]:
    if isinstance(value, (str, bytes, Mapping)):
        raise BucketsError(f"buckets={value!r}: give a list of numbers of seconds")
    try:
        bounds = [float(bound) for bound in cast("Iterable[float]", value)]
    except (TypeError, ValueError, OverflowError) as error:
        raise BucketsError(f"buckets={value!r}: give numbers of seconds") from error
    if bounds and bounds[-1] == math.inf:
        bounds.pop()
    if not bounds:
        raise BucketsError(f"buckets={value!r}: give at least one upper bound besides +Inf")
    if not all(math.isfinite(bound) for bound in bounds):
        raise BucketsError(f"buckets={value!r}: only the last bound may be infinite, none NaN")
    if any(low >= high for low, high in pairwise(bounds)):
        raise BucketsError(f"buckets={value!r}: give the bounds in increasing order, each once")
    return tuple(bounds)


def _exclude(value: object) -> tuple[Exclusion, ...]:
    single = isinstance(value, (str, re.Pattern)) or callable(value)
    exclusions = (value,) if single else value
    if not isinstance(exclusions, Iterable):
        raise OptionError(f"exclude={value!r}: give a list of paths, patterns or callables")
    exclusions = tuple(exclusions)
    for exclusion in exclusions:
        text = isinstance(exclusion, re.Pattern) and isinstance(exclusion.pattern, str)
        if not (isinstance(exclusion, str) or text or callable(exclusion)):
            raise OptionError(
                f"exclude: {exclusion!r} is neither a path, nor a compiled pattern of str, "
                "nor a callable"
            )
        _plain("exclude", exclusion)
    return exclusions


def _labels(value: object) -> Mapping[str, LabelValue]:
    if not isinstance(value, Mapping):
        raise OptionError(f"labels={value!r}: give a dictionary of names and values")
    for name, label in value.items():
        _label_name(name)
        if not (callable(label) or is_encodable(label)):
            raise OptionError(f"labels: {name}={label!r}: give a string of UTF-8, or a callable")
        _plain(f"labels: {name}", label)
    return dict(value)


def _label_name(name: object) -> None:
    if not isinstance(name, str) or not re.fullmatch(LABEL_NAME, name):
        raise LabelNameError(
            f"labels: {name!r} is not a label name; use ASCII letters, digits and '_', "
            "not beginning with a digit"
        )
    if name.startswith("__") or name in FORMAT_LABELS:
        raise ReservedLabelError(f"labels: {name!r} is reserved by Prometheus; choose another")
    if name in OUR_LABELS:
        raise ReservedLabelError(f"labels: {name!r} is a label of our own; choose another")


def _plain(option: str, value: object) -> None:
    # What it returned would be true, and different each time; nobody would await it.
    calls = (value, type(value).__call__) if callable(value) else ()
    if any(map(inspect.iscoroutinefunction, calls)):
        raise OptionError(f"{option}={value!r}: give a plain function; it is not awaited")


def _access(value: object) -> Callable[[Any], object] | None:
    _plain("access", value)
    if value is None or (callable(value) and not inspect.isclass(value)):
        return value
    raise OptionError(
        f"access={value!r}: give basic_auth(...), bearer_token(...), allow_networks(...), "
        "a callable, or None"
    )


def _max_series(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise OptionError(f"max_series={value!r}: give a whole number above 0")


def _switch(name: str) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        if isinstance(value, bool):
            return value
        raise OptionError(f"{name}={value!r}: give True or False")

    return check


CHECKS: dict[str, Callable[[object], Any]] = {
    "metrics_path": _metrics_path,
    "registry": _registry,
    "preset": _preset,
    "buckets": _buckets,
    "exclude": _exclude,
    "labels": _labels,
    "access": _access,
    "max_series": _max_series,
    "exemplars": _switch("exemplars"),
    "native_histograms": _switch("native_histograms"),
}
assert set(CHECKS) == set(Configuration.__annotations__)  # noqa: S101
