"""Options: read once, when a door is made, into one immutable object."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import REGISTRY, CollectorRegistry

from prom_middleware.errors import (
    BucketsError,
    LabelNameError,
    OptionError,
    PresetError,
    ReservedLabelError,
)
from prom_middleware.instrumentation.presets import PRESETS
from prom_middleware.instrumentation.series import DEFAULT_BUCKETS, Schema
from prom_middleware.naming import LABEL_NAME
from prom_middleware.options import (
    Check,
    access_rule,
    checked,
    is_encodable,
    is_switch,
    makes_objects,
    nearest,
    plain,
    rules,
    whole,
)

if TYPE_CHECKING:
    from prom_middleware.instrumentation.labels import Facts

    LabelValue = str | Callable[[Facts], object]
    Exclusion = str | re.Pattern[str] | Callable[[str], object]

FORMAT_LABELS = frozenset({"le", "quantile"})
# What a request's path can be: that of the application's own root is empty, and `OPTIONS *` has
# none (RFC 9112 section 3.2.4).
PATH = r"/|\*?\Z"
OUR_LABELS = frozenset({"method", "route", "status", "exception", "reason"})


class Configuration:
    """How one door behaves: `from_options` makes it, and nothing changes it.

    No dataclass, since a door would take longer to be imported for what nobody uses.
    """

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
    labels: Mapping[str, LabelValue] = MappingProxyType({})
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
        made = cls()
        vars(made).update(checked(options, CHECKS))
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name!r}: a configuration cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name!r}: a configuration cannot be changed")

    @property
    def options(self) -> dict[str, Any]:
        """Return what it was made of, as it was taken: an iterator among it can be read once."""
        return dict(vars(self))

    @property
    def metrics_paths(self) -> tuple[str, ...]:
        """Return what a door answers scrapes at: the path, with a slash at the end or without."""
        return () if self.metrics_path is None else (self.metrics_path, f"{self.metrics_path}/")

    @property
    def schema(self) -> Schema:
        """Return what doors on the same registry must have in common."""
        return Schema(self.preset, self.buckets, tuple(self.labels), self.native_histograms)


# The options that were read last, and what was taken of them.
_taken: tuple[dict[str, Any], dict[str, Any]] = ({}, {})


def as_taken(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that several ask for, as they were taken at the first time.

    An iterator among them can be read once.
    """
    global _taken
    if _taken[0] != given:
        _taken = dict(given), Configuration.from_options(given).options
    return _taken[1]


def _metrics_path(value: object) -> str | None:
    if value is None:
        return None
    if not is_encodable(value) or not re.fullmatch(r"/[^?#]*[^?#/]/*", str(value)):
        raise OptionError(f"metrics_path={value!r}: give a path such as '/metrics', or None")
    if re.search("%[0-9A-Fa-f]{2}", str(value)):
        raise OptionError(f"metrics_path={value!r}: servers decode paths, so write what %XX means")
    return str(value).rstrip("/")


def _preset(value: object) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not names:
        raise PresetError(f"preset={value!r}: give a preset's name, or a list of names")
    for name in names:
        if not isinstance(name, str) or name not in PRESETS:
            near = nearest(str(name), PRESETS)
            raise PresetError(f"preset={value!r}: there is no preset {name!r}{near}")
    return tuple(dict.fromkeys(cast("Iterable[str]", names)))


def _buckets(value: object) -> tuple[float, ...]:
    if isinstance(value, (str, bytes, Mapping)):
        raise BucketsError(f"buckets={value!r}: give a list of numbers of seconds")
    try:
        given = list(cast("Iterable[float]", value))
        bounds = [float(bound) for bound in given]
    except (TypeError, ValueError, OverflowError) as error:
        raise BucketsError(f"buckets={value!r}: give numbers of seconds") from error
    if any(isinstance(bound, bool) for bound in given):
        raise BucketsError(f"buckets={value!r}: give numbers of seconds")
    if bounds and bounds[-1] == math.inf:
        bounds.pop()
    if not bounds:
        raise BucketsError(f"buckets={value!r}: give at least one upper bound besides +Inf")
    if not all(math.isfinite(bound) for bound in bounds):
        raise BucketsError(f"buckets={value!r}: only the last bound may be infinite, none NaN")
    if any(low >= high for low, high in pairwise(bounds)):
        raise BucketsError(f"buckets={value!r}: give the bounds in increasing order, each once")
    if bounds[0] < 0:  # a histogram with one has no sum in OpenMetrics
        raise BucketsError(f"buckets={value!r}: give bounds of 0 or more, for no time is less")
    return tuple(bounds)


def _exclude(value: object) -> tuple[Exclusion, ...]:
    single = isinstance(value, (str, bytes, re.Pattern)) or callable(value)
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
        if makes_objects(exclusion):
            raise OptionError(f"exclude: {exclusion!r} excludes every path: give a function")
        plain("exclude", exclusion)
        if isinstance(exclusion, str) and not re.match(PATH, exclusion):
            raise OptionError(f"exclude: {exclusion!r} is no path: give one that begins with '/'")
    return exclusions


def _labels(value: object) -> Mapping[str, LabelValue]:
    if not isinstance(value, Mapping):
        raise OptionError(f"labels={value!r}: give a dictionary of names and values")
    for name, label in value.items():
        _label_name(name)
        if not (callable(label) or is_encodable(label)):
            raise OptionError(f"labels: {name}={label!r}: give a string of UTF-8, or a callable")
        plain(f"labels: {name}", label)
    # Doors on one registry agree on the names, in whatever order each has them.
    return MappingProxyType(dict(sorted(value.items())))


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


def _is_registry(value: object) -> bool:
    return isinstance(value, CollectorRegistry)


CHECKS: Mapping[str, Check] = {
    "metrics_path": _metrics_path,
    "preset": _preset,
    "buckets": _buckets,
    "exclude": _exclude,
    "labels": _labels,
    "access": access_rule,
    **rules(
        {
            "registry": (_is_registry, "a prometheus_client.CollectorRegistry"),
            "max_series": (whole(1), "a whole number above 0"),
            "exemplars": (is_switch, "True or False"),
            "native_histograms": (is_switch, "True or False"),
        }
    ),
}
assert set(CHECKS) == set(Configuration.__annotations__)  # noqa: S101
