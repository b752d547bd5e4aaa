"""What the text formats have in common: names, labels and numbers in lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from operator import add, getitem, itemgetter
from typing import Any

from prometheus_client import Metric as MetricFamily
from prometheus_client.metrics_core import METRIC_TYPES
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from prom_middleware import failures
from prom_middleware.exposition.formats.escaping import (
    encoded,
    escape_label_names,
    escape_value,
    is_classic,
    quote,
    quoted_label_name,
    sample_name,
    stem_of,
)
from prom_middleware.instrumentation.families import BlockFamily, Row

Line = Callable[["tuple[str, ...]", "Sequence[float]"], str]

number: Callable[[Any], str] = floatToGoString
# From here on it differs from `repr`; below the other one is only what is infinite.
EXPONENTS, LOWEST = 1e6, -1e300
# Label sets, and samples, in one slice: some tenths of a millisecond.
ROWS, SAMPLES = 32, 64
# No more escaped values are kept at a time.
KEPT = 10_000
# Nor counts, at each place of a row.
KEPT_COUNTS = 1_000


def check(family: MetricFamily) -> None:
    """Raise ValueError for a type that no format knows."""
    if family.type not in METRIC_TYPES:
        raise ValueError(f"{family.name!r} is of type {family.type!r}, which there is not")


def help_line(name: str, text: str | None, escape: Callable[[str], str]) -> str:
    """Return a HELP line; nothing for a collector's family that has no help at all."""
    return "" if text is None else f"# HELP {name} {escape(text)}\n"


def shown(value: float) -> str:
    """Return a float as Go writes it."""
    return repr(value) if LOWEST < value < EXPONENTS else number(value)


class Counts(dict[float, str]):
    """Counts as they are written, and what follows: many are the same, above all 0."""

    def __init__(self, end: str) -> None:
        self._end = end

    def __missing__(self, count: float) -> str:
        text = shown(count) + self._end
        if len(self) < KEPT_COUNTS:
            self[count] = text
        return text


class Values(dict[str, str]):
    """Label values, escaped when they are first asked for."""

    def __missing__(self, value: str) -> str:
        if not isinstance(value, str):
            raise TypeError(f"the value of a label is {value!r}, and no string")
        if len(self) >= KEPT:
            self.clear()
        self[value] = escaped = escape_value(value)
        return escaped


class LabelTexts(dict[tuple[str, ...], str]):
    """What stands for the labels of a row, made when it is first asked for."""

    def __init__(self, names: Sequence[str], scheme: str) -> None:
        shown, self._order = _ordered(names, scheme)
        self._parts = _template("", shown, "} " if shown else " ")

    def of(self, labels: tuple[str, ...]) -> str:
        """Return the text of one label set; raise TypeError where a value is no string."""
        together, values = "".join(labels), self._order(labels)
        if '"' in together or "\\" in together or "\n" in together:
            values = map(escape_value, values)
        parts = self._parts[:]  # another thread may be at it
        parts[1::2] = values
        return "".join(parts)

    def __missing__(self, labels: tuple[str, ...]) -> str:
        self[labels] = text = self.of(labels)
        return text


def label_names(names: Sequence[str], scheme: str) -> list[str]:
    """Return labels' names as they are written; raise ValueError where two are the same then."""
    return list(map(quoted_label_name, escape_label_names(names, scheme)))


def _ordered(names: Sequence[str], scheme: str) -> tuple[list[str], Callable[[Any], Any]]:
    """Return labels' names in their order, and what puts their values into it."""
    shown = label_names(names, scheme)
    order = sorted(range(len(names)), key=names.__getitem__)
    shown = [shown[place] for place in order]
    return shown, tuple if order == sorted(order) else itemgetter(*order)


def brackets(name: str, labelled: bool) -> tuple[str, str]:
    """Return what stands before and after the labels of a sample."""
    if is_classic(name):
        return (f"{name}{{", "}") if labelled else (name, "")
    return f"{{{quote(name)}{',' if labelled else ''}", "}"


def _template(first: str, names: Sequence[str], last: str) -> list[str]:
    """Return parts of which the odd ones are to be filled with the values of labels."""
    parts = [first]
    for name in names:
        parts[-1] += f'{name}="'
        parts += ("", '",')
    parts[-1] = (parts[-1].removesuffix(",") if names else parts[-1]) + last
    return parts


class Layout:
    """How the rows of one family look in one scheme: made once, for each label set.

    The labels are the same in all lines of a row, so that they join what stands between them: a
    long template costs ten times as much with `%`.
    """

    def __init__(self, family: BlockFamily, scheme: str, ending: str = "\n") -> None:
        self.family = family
        self.scheme = scheme
        self.ending = ending  # of a line, after its number
        self.stem = stem_of(family, scheme)
        self._labelled = bool(family.label_names)
        self.labels = self._label_texts()

    def _label_texts(self) -> Callable[[tuple[str, ...]], str]:
        names, kept = self.family.label_names, self.family.kept
        if kept is None:
            return LabelTexts(names, self.scheme).of
        if self.scheme not in kept:
            kept[self.scheme] = LabelTexts(names, self.scheme)
        texts: LabelTexts = kept[self.scheme]
        return texts.__getitem__

    def samples(self) -> list[tuple[str, str]]:
        """Return the names of what a row's values are, and the labels that only they have."""
        kind, bounds = self.family.type, self.family.bounds
        if kind == "histogram":
            edges = [*map(number, bounds), "+Inf"]
            buckets = [(f"{self.stem}_bucket", f'le="{edge}"') for edge in edges]
            return [*buckets, (f"{self.stem}_count", ""), (f"{self.stem}_sum", "")]
        if kind == "summary":
            return [(f"{self.stem}_count", ""), (f"{self.stem}_sum", "")]
        return [(self.stem + ("_total" if kind == "counter" else ""), "")]

    def filling(self, samples: Sequence[tuple[str, str]]) -> Callable[[Row, Sequence[str]], str]:
        """Return what makes the lines of a row's samples, of their numbers as texts."""
        labels, (first, *ends) = self.labels, self.between(samples)

        def fill(row: Row, numbers: Sequence[str]) -> str:
            return labels(row.labels).join((first, *map(add, numbers, ends)))

        return fill

    def between(self, samples: Sequence[tuple[str, str]]) -> list[str]:
        """Return what stands before the first labels, and behind the number of each sample."""
        beginnings = list(map(self._beginning, samples))
        ends = (f"{self.ending}{text}" for text in beginnings[1:])
        return [beginnings[0], *ends, self.ending]

    def _beginning(self, sample: tuple[str, str]) -> str:
        name, inner = sample
        opening, closing = brackets(name, self._labelled or bool(inner))
        comma = "," if inner and self._labelled else ""
        return opening + inner + comma + ("" if self._labelled else closing)


def row_line(layout: Layout) -> Line:
    """Return what makes the lines of a row of its labels and its values."""
    names = layout.samples()
    if len(names) == 1:
        return _number_line(layout, names[0])
    labels, (first, *ends) = layout.labels, layout.between(names)
    # Most of a scrape's time is spent here. Every count but the last value, which is a sum, with
    # what stands between it and the next one's labels: most buckets have the same counts.
    counts, end = [Counts(text) for text in ends[:-1]], ends[-1]

    def lines(row: tuple[str, ...], values: Sequence[float]) -> str:
        numbers = map(getitem, counts, values)
        return labels(row).join((first, *numbers, shown(values[-1]) + end))

    return lines


def _number_line(layout: Layout, sample: tuple[str, str]) -> Line:
    (before, end), labels = layout.between([sample]), layout.labels
    counts = Counts(end).__getitem__

    def line(row: tuple[str, ...], values: Sequence[float]) -> str:
        value = values[0]
        # There are two zeros, and they are equal.
        return before + labels(row) + (counts(value) if value else repr(float(value)) + end)

    return line


def created_line(layout: Layout) -> Callable[[Row], str]:
    """Return what makes the line that says since when a row is counted."""
    fill = layout.filling([(f"{layout.stem}_created", "")])
    return lambda row: fill(row, (shown(row.created),))


def in_slices(lines: Iterable[str], first: str = "", size: int = ROWS) -> Iterator[bytes]:
    """Yield `lines` in slices; what is in none of them raises before it."""
    lines = iter(lines)
    slice_ = first + "".join(islice(lines, size))
    while slice_:
        yield encoded(slice_)
        slice_ = "".join(islice(lines, size))


class SampleLines:
    """What makes lines of the samples of a family that is not ours."""

    def __init__(self, family: MetricFamily, scheme: str) -> None:
        self._family = family
        self._scheme = scheme
        self._templates: dict[tuple[str, ...], tuple[list[str], Any]] = {}
        self._escaped = Values().__getitem__

    def line(self, sample: Any) -> str:
        """Return a sample's name, labels and value."""
        labels = sample.labels
        key = (sample.name, *labels) if labels else (sample.name,)
        found = self._templates.get(key)
        if found is None:
            found = self._templates[key] = self._template(key)
        parts, order = found
        value = sample.value
        text = shown(value) if type(value) is float else number(value)
        if not labels:
            return parts[0] + text
        parts[1::2] = map(self._escaped, order(labels.values()))
        return "".join(parts) + text

    def _template(self, key: tuple[str, ...]) -> tuple[list[str], Any]:
        name = sample_name(self._family, key[0], self._scheme)
        names, order = _ordered(key[1:], self._scheme)
        opening, closing = brackets(name, bool(names))
        # Values are given as a view of a dictionary, which has no places.
        ordered = order if order is tuple else lambda values: order(tuple(values))
        return _template(opening, names, f"{closing} "), ordered


def exemplar_text(exemplar: Exemplar, scheme: str, limit: int | None) -> str:
    """Return an exemplar as it stands after a value.

    Nothing where it is longer than `limit`, or cannot be written, which is counted: its sample is
    shown without it.
    """
    try:
        if limit is not None and exemplar_length(exemplar) > limit:
            return ""
        labels = sorted(exemplar.labels.items())
        names = _exemplar_names(tuple([name for name, _ in labels]), scheme)
        pairs = zip(names, labels, strict=True)
        shown = ",".join([f"{name}={quote(text)}" for name, (_, text) in pairs])
        time = "" if exemplar.timestamp is None else f" {seconds(exemplar.timestamp)}"
        return f" # {{{shown}}} {number(exemplar.value)}{time}"
    except Exception as error:
        failures.report("exemplar", error)
        return ""


@lru_cache(maxsize=100)
def _exemplar_names(names: tuple[str, ...], scheme: str) -> list[str]:
    return label_names(names, scheme)


def exemplar_length(exemplar: Exemplar) -> int:
    """Return how many characters the labels of an exemplar have, names and values together."""
    return sum(len(name) + len(text) for name, text in exemplar.labels.items())


def seconds(timestamp: Any) -> str:
    """Return a time, in seconds or a `Timestamp`, as OpenMetrics has it; raise for others."""
    time = float(timestamp)
    if not LOWEST < time < -LOWEST:
        raise ValueError(f"{timestamp!r} is no time")
    # A `Timestamp` before 1970 has two signs, each with a number after it.
    return f"{timestamp}" if time >= 0 else repr(time)
