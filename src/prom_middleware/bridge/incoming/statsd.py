"""StatsD: counters, gauges, timers, histograms, distributions and sets.

https://github.com/statsd/statsd/blob/master/docs/metric_types.md, with the tags and fields of
https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/ and the tags in names of Librato,
InfluxDB and SignalFx. Names, types and reasons are those of statsd_exporter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from prom_middleware.bridge.incoming.lines import number
from prom_middleware.bridge.incoming.mapping import Rule
from prom_middleware.bridge.incoming.names import label_name, metric_name
from prom_middleware.bridge.incoming.receiver import Receiver
from prom_middleware.bridge.incoming.series import RefusedError, Target
from prom_middleware.bridge.incoming.values import Counter, Gauge, Histogram, Set, Summary, Value

MOST_MEMBERS = 1000  # of a set
LEAST_RATE = 1e-9  # no sum gets over the samples of a lesser one, which nobody means
TEXT = "Received by StatsD."
# Types, and how rules call them.
KINDS = {
    "c": "counter",
    "g": "gauge",
    "ms": "observer",
    "h": "observer",
    "d": "observer",
    "s": "set",
}
# What DogStatsD has after the type, besides a rate: tags, a container, a time, more of its own.
TAGS = "#"
FIELDS = ("c:", "T", "e:", "card:")
# Types of which DogStatsD packs several values into a sample: all but sets.
PACKED = frozenset(KINDS) - {"s"}
# Librato's and InfluxDB's begin of tags.
_TAGS_IN_NAME = re.compile("[#,]")
# Lines of DogStatsD that are no metrics.
OTHERS = (("_e{", "event"), ("_sc|", "service_check"))


class Sample(NamedTuple):
    """A sample as it stands in its line, with its sampling rate."""

    kind: str
    value: str
    rate: float


# Changes a series' value; what it was sent with is multiplied by a rule's scale.
Apply = Callable[[Any, float], object]


class StatsdCollector(Receiver):
    """A Collector of what StatsD's clients send.

    Timers and histograms are summaries, or what the mapping says. `ms` becomes seconds. A counter's
    name ends in `_total`. Options are those of `Receiver`.
    """

    protocol = "statsd"

    def take(self, line: str) -> None:
        """Take the samples of one line; raise RefusedError where there is none."""
        for begin, reason in OTHERS:
            if line.startswith(begin):
                raise RefusedError(reason)
        name, _, rest = line.partition(":")
        if not name or not rest:
            raise RefusedError("malformed_line")
        name, tags = self._name_and_tags(name)
        if tags and "|#" in rest:
            raise RefusedError("mixed_tagging_styles")
        for fields in _samples(rest):
            try:
                self._take(name, fields, tags)
            except RefusedError as refused:
                self.lose(refused.reason)

    def shown_name(self, name: str) -> str:
        """Return the name with underscores for all that is no letter and no digit."""
        return metric_name(name)

    def target(self, name: str, kind: str, rule: Rule) -> Target:
        """Return the family; a rule says whether observations are a summary or a histogram."""
        if kind == "counter":
            name = name.removesuffix("_total") or name
        made = rule.observer if kind == "observer" else kind
        return Target(name, made, rule.text or TEXT, rule.ttl, partial(VALUES[made], rule))

    def _take(self, name: str, fields: Sequence[str], tags: Mapping[str, str]) -> None:
        if len(fields) < 2 or not all(fields[2:]):
            raise RefusedError("malformed_component")
        text, kind, *others = fields
        if kind not in KINDS:
            raise RefusedError("illegal_event")
        tags, rate = dict(tags), 1.0
        for field in others:
            if field[0] == "@":
                rate = self._rate(field[1:])
            elif field[0] == TAGS:
                self._add_tags(tags, field[1:].split(","), ":")
            elif not field.startswith(FIELDS):
                self.lose("invalid_sample_factor")
        self._apply(name, Sample(kind, text, rate), tags)

    def _apply(self, name: str, sample: Sample, tags: dict[str, str]) -> None:
        kind = KINDS[sample.kind]
        apply = APPLY[kind](sample)  # raises RefusedError before a series is made
        found = self.find(name, kind, tags)
        if found is not None:
            apply(*found)

    def _rate(self, text: str) -> float:
        rate = number(text)
        if rate == 0:
            return 1.0  # as statsd_exporter has it
        if rate is None or not LEAST_RATE <= rate <= 1:
            self.lose("invalid_sample_factor")
            return 1.0
        return rate

    def _name_and_tags(self, name: str) -> tuple[str, dict[str, str]]:
        """Cut off the tags of SignalFx, `a[t=1].b`, Librato, `a#t=1`, and InfluxDB, `a,t=1`."""
        tags: dict[str, str] = {}
        begin, end = name.find("["), name.find("]")
        if 0 <= begin < end:
            self._add_tags(tags, name[begin + 1 : end].split(","), "=")
            return name[:begin] + name[end + 1 :], tags
        if begin >= 0 or end >= 0:
            self.lose("malformed_tag")
            return name, tags
        found = _TAGS_IN_NAME.search(name)
        if found is None:
            return name, tags
        self._add_tags(tags, name[found.end() :].split(","), "=")
        return name[: found.start()], tags

    def _add_tags(self, tags: dict[str, str], texts: Iterable[str], between: str) -> None:
        for text in texts:
            name, _, value = text.removeprefix("#").partition(between)
            if name and value:
                tags[label_name(name)] = value
            else:
                self.lose("malformed_tag")


def _samples(rest: str) -> list[list[str]]:
    """Return the fields of each sample of a line, from the value on; raise RefusedError.

    There may be several values, `1:2:3|ms`, or several samples, `1|c:2|g`. The tags of DogStatsD
    may have colons in them: where there are some, the line has one sample.
    """
    fields = rest.split("|")
    if len(fields) < 2:
        raise RefusedError("not_enough_parts_after_colon")
    if ":" in fields[0]:
        if fields[1] not in PACKED:
            raise RefusedError("invalid_extended_aggregate_type")
        return [[value, *fields[1:]] for value in fields[0].split(":")]
    if any(field.startswith((TAGS, *FIELDS)) for field in fields[2:]):
        return [fields]
    return [sample.split("|") for sample in rest.split(":")]


def _number(sample: Sample) -> float:
    value = number(sample.value)
    if value is None:
        raise RefusedError("malformed_value")
    return value


def _finite(sample: Sample) -> float:
    """Return a number that does not spoil a sum for ever."""
    value = _number(sample)
    if not math.isfinite(value / sample.rate):
        raise RefusedError("malformed_value")
    return value


def _scaled(value: float, scale: float, times: int = 1) -> float:
    """Return what a rule makes of a number that is added up `times`."""
    scaled = value * scale
    if not math.isfinite(scaled * times):
        raise RefusedError("malformed_value")
    return scaled


def _count(sample: Sample) -> Apply:
    value = _finite(sample) / sample.rate
    if value < 0:
        raise RefusedError("illegal_negative_counter")

    def apply(counter: Any, scale: float) -> None:
        if value * scale < 0:  # a rule may turn the sign, and a sum may not fall
            raise RefusedError("illegal_negative_counter")
        counter.add(_scaled(value, scale))

    return apply


def _gauge(sample: Sample) -> Apply:
    value = _number(sample)
    if sample.value[0] in "+-":
        return lambda gauge, scale: gauge.move(value * scale)
    return lambda gauge, scale: gauge.set(value * scale)


def _observation(sample: Sample) -> Apply:
    value = _finite(sample) * (0.001 if sample.kind == "ms" else 1)
    times = max(1, int(1 / sample.rate))
    return lambda observer, scale: observer.observe(_scaled(value, scale, times), times)


def _member(sample: Sample) -> Apply:
    def apply(members: Any, scale: float) -> None:
        if not members.add(sample.value):
            raise RefusedError("set_full")

    return apply


APPLY: dict[str, Callable[[Sample], Apply]] = {
    "counter": _count,
    "gauge": _gauge,
    "observer": _observation,
    "set": _member,
}
VALUES: dict[str, Callable[[Rule], Value]] = {
    "counter": lambda rule: Counter(),
    "gauge": lambda rule: Gauge(),
    "histogram": lambda rule: Histogram(rule.buckets),
    "summary": lambda rule: Summary(rule.quantiles, rule.windows),
    "set": lambda rule: Set(MOST_MEMBERS),
}
