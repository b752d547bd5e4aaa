"""Rows as protobuf messages: what is the same in all rows of a family is encoded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from prom_middleware.exposition.formats.escaping import escape_label_names
from prom_middleware.exposition.formats.lines import KEPT
from prom_middleware.exposition.formats.wire import double, message, text, unsigned, varint
from prom_middleware.instrumentation.families import BlockFamily, Row

_UPPER_BOUND = 9  # bytes: what a bucket has beside its count


class _Counts(dict[float, bytes]):
    """The beginnings of buckets, up to their bounds, by their counts."""

    def __missing__(self, count: float) -> bytes:
        cumulative = unsigned(1, _whole(count))
        found = b"\x1a" + varint(len(cumulative) + _UPPER_BOUND) + cumulative
        if len(self) < KEPT:
            self[count] = found
        return found


class _Pairs(dict[str, bytes]):
    """The values of one label, each with its name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = text(1, name)

    def __missing__(self, value: str) -> bytes:
        found = message(1, self._name + text(2, value))
        if len(self) < KEPT:
            self[value] = found
        return found


def _whole(count: float) -> int:
    whole = int(count)
    if whole != count or whole < 0:
        raise ValueError(f"{count!r} is no count")
    return whole


def row_labels(family: BlockFamily, scheme: str) -> Callable[[Row], bytes]:
    """Return what encodes the labels of a row."""
    order = sorted(range(len(family.label_names)), key=family.label_names.__getitem__)
    names = escape_label_names([family.label_names[place] for place in order], scheme)
    columns = [(_Pairs(name), place) for name, place in zip(names, order, strict=True)]

    def labels(row: Row) -> bytes:
        values = row.labels
        return b"".join([pairs[values[place]] for pairs, place in columns])

    return labels


def row_histogram(bounds: Sequence[float]) -> Callable[[Row], bytes]:
    """Return what encodes a histogram without exemplars, up to its last bucket."""
    ends = [double(2, bound) for bound in (*bounds, float("inf"))]
    beginnings = _Counts().__getitem__

    def histogram(row: Row) -> bytes:
        *counts, count, total = row.values
        buckets = b"".join(chain.from_iterable(zip(map(beginnings, counts), ends, strict=True)))
        return unsigned(1, _whole(count)) + double(2, total) + buckets

    return histogram
