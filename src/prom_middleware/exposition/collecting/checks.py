"""What a family must be to be shown: one that is not would spoil the whole scrape."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from prometheus_client import Metric as MetricFamily
from prometheus_client.metrics_core import METRIC_TYPES

SLICE = 32  # samples in some tenths of a millisecond
SUFFIXES: dict[str, tuple[str, ...]] = {
    "counter": ("_total", "_created"),
    "summary": ("_sum", "_count", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "info": ("_info",),
}


class GarbageError(Exception):
    """A collector gave what is no family, or one that no scraper would take."""


def names_of(family: MetricFamily) -> list[str]:
    """Return the names that nobody else's families and samples may have."""
    return [family.name, *(family.name + suffix for suffix in SUFFIXES.get(family.type, ()))]


def check_family(family: Any) -> None:
    """Raise GarbageError for what is no family."""
    if not isinstance(getattr(family, "samples", None), Iterable):
        raise GarbageError(f"{_short(family)} is no metric family")
    _check_text("a family's name", family.name)
    if not family.name:
        raise GarbageError("a family has no name")
    _check_text(f"the help of {family.name}", family.documentation, or_none=True)
    if family.type not in METRIC_TYPES:
        raise GarbageError(f"{family.name} has a type that does not exist: {_short(family.type)}")


def check_samples(family: MetricFamily, others: set[int]) -> Generator[None, None, None]:
    """Raise GarbageError for samples that are none, or that are in `others`; then add them there.

    Yields now and then. A series is known by a hash: the series themselves would take too much.
    """
    seen: set[int] = set()
    for number, sample in enumerate(family.samples):
        try:
            key = _check_sample(family.name, sample)
        except GarbageError:
            raise
        except Exception as error:
            raise GarbageError(f"{family.name}: {_short(sample)} is no sample") from error
        if key in seen or key in others:
            raise GarbageError(f"{family.name} has a series twice: {_short(sample)}")
        seen.add(key)
        if number % SLICE == SLICE - 1:
            yield
    others |= seen


def _check_sample(family: str, sample: Any) -> int:
    name, labels, value, timestamp = sample.name, sample.labels, sample.value, sample.timestamp
    if not name:
        raise GarbageError(f"{family} has a sample without a name")
    _check_text(f"a sample's name in {family}", name)
    float(value)
    for label, text in labels.items():
        if type(label) is not str or type(text) is not str or not (label + text).isascii():
            _check_text(f"a label of {family}", label)
            _check_text(f"the label {label} of {family}", text)
        if not label:
            raise GarbageError(f"{family} has a label without a name")
    # One series may stand there several times with different times.
    return hash((name, frozenset(labels.items()), None if timestamp is None else float(timestamp)))


def _check_text(what: str, text: object, or_none: bool = False) -> None:
    if text is None and or_none:
        return
    if not isinstance(text, str):
        raise GarbageError(f"{what} is no text: {_short(text)}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise GarbageError(f"{what} is no Unicode: {_short(text)}") from error


def _short(value: object) -> str:
    try:
        shown = repr(value)
    except Exception:
        shown = f"<{type(value).__name__}>"
    return shown if len(shown) <= 100 else f"{shown[:100]}..."
