"""What a family must be to be shown: one that is not would spoil the whole scrape."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from prometheus_client import Metric as MetricFamily
from prometheus_client.metrics_core import METRIC_TYPES

from prom_middleware.exposition.formats.points import INNER, is_misplaced, is_native

SLICE = 32  # samples in some tenths of a millisecond
# A label that every series has already, its name; and those that tell the parts of one apart.
NAME = "__name__"
RESERVED = frozenset((NAME, *INNER.values()))
MILLISECONDS = 2.0**63  # since 1970: readers have 64 bits for them


class GarbageError(Exception):
    """A collector gave what is no family, or one that no scraper would take."""


def check_family(family: Any) -> None:
    """Raise GarbageError for what is no family."""
    if not isinstance(getattr(family, "samples", None), Iterable):
        raise GarbageError(f"{_short(family)} is no metric family")
    _check_text("a family's name", family.name)
    if not family.name:
        raise GarbageError("a family has no name")
    if not isinstance(family.documentation, str | None):
        raise GarbageError(f"the help of {family.name} is no text: {_short(family.documentation)}")
    if family.type not in METRIC_TYPES:
        raise GarbageError(f"{family.name} has a type that does not exist: {_short(family.type)}")


def check_samples(family: MetricFamily, others: set[int]) -> Generator[None, None, None]:
    """Raise GarbageError for samples that are none, or that are in `others`; then add them there.

    Yields now and then. A series is known by a hash: the series themselves would take too much.
    """
    seen: set[int] = set()
    shapes: set[tuple[str, ...]] = set()
    for number, sample in enumerate(family.samples):
        try:
            key = _check_sample(family, sample, shapes)
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


def _check_sample(family: MetricFamily, sample: Any, shapes: set[tuple[str, ...]]) -> int:
    name, labels, timestamp = sample.name, sample.labels or {}, sample.timestamp
    shape = (name, *labels)
    if shape not in shapes:  # which are few
        _check_names(family, name, labels)
        shapes.add(shape)
    if not is_native(sample):
        float(sample.value)
    for label, text in labels.items():
        if not isinstance(text, str):
            raise GarbageError(f"the label {label} of {family.name} is no text: {_short(text)}")
    # One series may stand there several times with different times.
    time = None if timestamp is None else _checked_time(family, timestamp)
    return hash((name, frozenset(labels.items()), time))


def _check_names(family: MetricFamily, name: Any, labels: Iterable[Any]) -> None:
    if not name:
        raise GarbageError(f"{family.name} has a sample without a name")
    _check_text(f"a sample's name in {family.name}", name)
    for label in labels:
        _check_text(f"a label of {family.name}", label)
        if not label:
            raise GarbageError(f"{family.name} has a label without a name")
    for label in RESERVED.intersection(labels):
        if label == NAME or is_misplaced(family, name, label):
            raise GarbageError(f"{family.name} has the label {label} at {name}")


def _checked_time(family: MetricFamily, timestamp: Any) -> float:
    time = float(timestamp)
    if not -MILLISECONDS <= time * 1000 < MILLISECONDS:
        raise GarbageError(
            f"{family.name} has a time that is none, in seconds: {_short(timestamp)}"
        )
    return time


def _check_text(what: str, text: object) -> None:
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
