"""A family of a pushed text while it is read, one comment or sample after the other."""

from __future__ import annotations

from dataclasses import dataclass, field

from prom_middleware.parser.line import go_quoted
from prom_middleware.pushgateway.bodies.errors import WrongLineError
from prom_middleware.pushgateway.bodies.tokens import is_utf8, read_value, unescaped
from prom_middleware.pushgateway.families import (
    GAUGE_HISTOGRAM,
    HISTOGRAM,
    SUMMARY,
    TYPES,
    UNTYPED,
    Distribution,
    Family,
    Labels,
    Metric,
)
from prom_middleware.pushgateway.numbers import parse_go_float

_UINT64 = 2.0**64

# The label that tells the samples of one metric apart, and the endings of its other samples.
INNER = {SUMMARY: "quantile", HISTOGRAM: "le"}
ENDINGS = {SUMMARY: ("_count", "_sum"), HISTOGRAM: ("_count", "_sum", "_bucket")}
ALL_ENDINGS = ENDINGS[HISTOGRAM]


@dataclass(slots=True)
class _Tally:
    """A summary or a histogram that is being read."""

    labels: Labels
    count: float = 0
    sum: float = 0.0
    points: list[tuple[float, float]] = field(default_factory=list)
    has_timestamp: bool = False

    def finished(self) -> Metric:
        """Return the metric."""
        value = Distribution(self.count, self.sum, tuple(self.points))
        return Metric(self.labels, value, None, self.has_timestamp)


@dataclass(slots=True)
class Draft:
    """A family that is being read."""

    name: str
    type: str | None = None
    help: str | None = None
    metrics: list[Metric] = field(default_factory=list)
    # Of summaries and histograms, whose metrics take many lines.
    tallies: dict[frozenset[tuple[str, str]], _Tally] = field(default_factory=dict)

    def finished(self) -> Family:
        """Return the family."""
        metrics = self.metrics or [one.finished() for one in self.tallies.values()]
        return Family(self.name, self.type or UNTYPED, self.help, metrics)

    def add(self, ending: str, labels: list[tuple[str, str]], rest: str) -> None:
        """Add a sample: the ending of its name, its labels and what its line ends with."""
        value, has_timestamp = read_value(rest)
        inner = INNER.get(self.type or "")
        if self.type == GAUGE_HISTOGRAM:
            raise WrongLineError(f"unexpected type for metric name {go_quoted(self.name)}")
        if inner is None:
            self.metrics.append(Metric(tuple(labels), value, None, has_timestamp))
            return
        point, own = _split(inner, labels)
        tally = self.tallies.setdefault(frozenset(own), _Tally(own))
        tally.has_timestamp |= has_timestamp
        if ending == "_count":
            tally.count = _count(value)
        elif ending == "_sum":
            tally.sum = value
        elif point is not None and point == point:
            tally.points.append((point, _count(value) if self.type == HISTOGRAM else value))

    def set_help(self, content: str) -> None:
        """Take what stands after HELP and the name."""
        if self.help is not None:
            raise WrongLineError(f"second HELP line for metric name {go_quoted(self.name)}")
        self.help = unescaped(content)
        if not is_utf8(self.help):  # the original passes it on to every scraper
            raise WrongLineError(f"invalid HELP {go_quoted(self.help)}")

    def set_type(self, content: str) -> None:
        """Take what stands after TYPE and the name."""
        if self.type is not None:
            name = go_quoted(self.name)
            raise WrongLineError(
                f"second TYPE line for metric name {name}, or TYPE reported after samples"
            )
        if content.upper() not in TYPES:
            raise WrongLineError(f"unknown metric type {go_quoted(content)}")
        self.type = content.upper()


def _split(inner: str, labels: list[tuple[str, str]]) -> tuple[float | None, Labels]:
    """Return the bound or quantile of a sample, and its other labels."""
    point = None
    for name, text in labels:
        if name == inner:
            try:
                point = parse_go_float(text)
            except ValueError:
                problem = f"expected float as value for '{inner}' label, got {go_quoted(text)}"
                raise WrongLineError(problem) from None
    return point, tuple(pair for pair in labels if pair[0] != inner)


def _count(value: float) -> int:
    if not 0 <= value < _UINT64:
        raise WrongLineError(f"expected a count, got {value}")
    return int(value)
