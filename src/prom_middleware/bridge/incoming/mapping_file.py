"""The rules in a file, in statsd_exporter's YAML: the extra `mapping`.

https://github.com/prometheus/statsd_exporter#metric-mapping-and-configuration
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TextIO

from prom_middleware.bridge.incoming.mapping import Rule, Rules
from prom_middleware.bridge.incoming.values import Windows
from prom_middleware.durations import go_seconds
from prom_middleware.errors import MappingError, MissingFrameworkError
from prom_middleware.naming import is_label_name

_REFERENCE = r"\$\{?\d+\}?"
_NAME = re.compile(rf"(?:[a-zA-Z_]|{_REFERENCE})(?:[a-zA-Z0-9_]|{_REFERENCE})*", re.A)
_WORD = re.compile(r"\*|[^*\s]+")
_KINDS = {"counter": "counter", "gauge": "gauge", "observer": "observer", "timer": "observer"}

log = logging.getLogger(__name__)


def load_mapping(path: str | os.PathLike[str]) -> Rules:
    """Read a mapping file; raise MappingError, which says what is wrong where, or OSError."""
    with open(path, encoding="utf-8") as file:
        return parse_mapping(_content(file, os.fspath(path)), os.fspath(path))


def _content(file: TextIO, name: str) -> str:
    try:
        return file.read()
    except UnicodeDecodeError as error:
        raise MappingError(f"{name}: {error}") from error


def parse_mapping(text: str, name: str = "mapping") -> Rules:
    """Return the rules of a text; raise MappingError."""
    try:
        import yaml
    except ImportError as error:
        raise MissingFrameworkError(
            f"a mapping file needs pip install 'prom_middleware[mapping]' ({error})"
        ) from error
    try:
        content = yaml.safe_load(text)
    # PyYAML raises the others for dates that there are not, long numbers and deep nesting.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MappingError(f"{name}: {error}") from error
    return _rules(Section(content or {}, name))


class Section:
    """A mapping of the document; what it is asked for and does not have as it should is told."""

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, Mapping):
            raise MappingError(f"{where}: {content!r} is no mapping")
        self._content = dict(content)
        self._where = where

    def error(self, key: str, problem: str) -> MappingError:
        """Return an error of one key."""
        return MappingError(f"{self._where}: {key}: {problem}")

    def take(self, key: str, read: Callable[[Any], Any], default: Any) -> Any:
        """Return what is at `key`, read; it is then known."""
        value = self._content.pop(key, None)
        if value is None:
            return default
        try:
            return read(value)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self.error(key, f"{value!r}: {error}") from error

    def section(self, key: str) -> Section:
        """Return the section at `key`, an empty one where there is none."""
        return Section(self._content.pop(key, None) or {}, f"{self._where}: {key}")

    def end(self) -> None:
        """Warn of keys that nobody asked for: statsd_exporter does not mind them."""
        for key in self._content:
            log.warning("%s: %s is not known, and does nothing", self._where, key)


def _rules(document: Section) -> Rules:
    defaults = document.section("defaults")
    ordered = not defaults.take("glob_disable_ordering", _flag, False)
    match_type = defaults.take("match_type", _MATCH_TYPE, "glob")
    default = _observing(defaults, Rule(""))
    defaults.end()
    rules = []
    for number, content in enumerate(document.take("mappings", _sequence, ()), 1):
        section = Section(content, f"mapping {number}")
        rules.append(_rule(section, default, match_type))
        section.end()
    document.end()
    return Rules(rules, default, ordered=ordered)


def _rule(section: Section, default: Rule, match_type: str) -> Rule:
    match = section.take("match", _text, "")
    regex = None
    if section.take("match_type", _MATCH_TYPE, match_type) == "regex":
        regex = _compiled(section, match)
    elif not all(map(_WORD.fullmatch, match.split("."))):
        raise section.error("match", f"{match!r}: a star stands for a whole word between dots")
    rule = replace(
        _observing(section, default),
        match=match,
        regex=regex,
        name=section.take("name", _name, ""),
        labels=section.take("labels", _labels, {}),
        drops=section.take("action", _one_of("map", "drop"), "map") == "drop",
        kind=section.take("match_metric_type", _kind, None),
        scale=section.take("scale", _finite, None),
        text=section.take("help", _text, ""),
        honor_labels=section.take("honor_labels", _flag, False),
    )
    if not rule.name and not rule.drops:
        raise section.error("name", "a mapping needs the name of a metric")
    return rule


def _observing(section: Section, default: Rule) -> Rule:
    """Return `default` with what a section says of observations; the older keys give way."""
    histogram, summary = section.section("histogram_options"), section.section("summary_options")
    older = section.take("timer_type", _OBSERVER, default.observer)
    buckets = section.take("buckets", _buckets, default.buckets)
    quantiles = section.take("quantiles", _quantiles, default.quantiles)
    windows = Windows(
        summary.take("max_summary_age", _seconds, 0.0) or default.windows.seconds,
        summary.take("summary_age_buckets", _count, 0) or default.windows.parts,
    )
    rule = replace(
        default,
        observer=section.take("observer_type", _OBSERVER, older),
        buckets=histogram.take("buckets", _buckets, ()) or buckets,
        quantiles=summary.take("quantiles", _quantiles, ()) or quantiles,
        windows=windows,
        ttl=section.take("ttl", _seconds, default.ttl),
    )
    summary.take("stream_buffer_size", _count, 0)  # how client_golang works, not what it shows
    histogram.end()
    summary.end()
    return rule


def _compiled(section: Section, match: str) -> re.Pattern[str]:
    try:
        return re.compile(match, re.A)
    except re.error as error:
        raise section.error("match", f"{match!r} is no regular expression: {error}") from error


def _one_of(*values: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in values:
            raise ValueError(f"one of these is wanted: {', '.join(values)}")
        return str(value)

    return read


_MATCH_TYPE = _one_of("glob", "regex")
_OBSERVER = _one_of("histogram", "summary")


def _kind(value: Any) -> str:
    return _KINDS[_one_of(*_KINDS)(value)]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is wanted")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false is wanted")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= 1000:
        raise ValueError("a whole number up to 1000 is wanted")
    return value


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a finite number is wanted")
    return number


def _sequence(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError("a list is wanted")
    return value


def _name(value: Any) -> str:
    if not _NAME.fullmatch(_text(value)):
        raise ValueError("this cannot be the name of a metric")
    return str(value)


def _labels(value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError("label: value is wanted")
    for label in value:
        if not is_label_name(_text(label)):
            raise ValueError(f"{label!r} cannot be the name of a label")
    return {label: _scalar(text) for label, text in value.items()}


def _scalar(value: Any) -> str:
    """Return a text that may look like a number; YAML's `true` is `true` again."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise TypeError("a text is wanted")
    return str(value)


def _buckets(value: Any) -> tuple[float, ...]:
    bounds = tuple(float(bound) for bound in _sequence(value))
    if list(bounds) != sorted(set(bounds)) or not all(map(math.isfinite, bounds)):
        raise ValueError("rising numbers are wanted")
    return bounds


def _quantiles(value: Any) -> tuple[float, ...]:
    """Read `quantile: 0.99` of each; its `error` is what client_golang may be wrong by."""
    quantiles = tuple(sorted({float(one["quantile"]) for one in _sequence(value)}))
    if not all(0 <= quantile <= 1 for quantile in quantiles):
        raise ValueError("quantiles are from 0 to 1")
    return quantiles


def _seconds(value: Any) -> float:
    """Read a duration of Go: `1m20s`. A bare number would be nanoseconds there; 0 is none."""
    if value == 0 and not isinstance(value, str):
        return 0.0
    text = _text(value)
    return 0.0 if text == "0" else go_seconds(text)
