"""The values of series: each takes what was received, and shows samples."""

from __future__ import annotations

import random
import time
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol

from prom_middleware.exposition.formats.lines import number as go_number

# A sample: what its name ends with, a label of its own, its value.
Shown = tuple[str, dict[str, str], float]
INF = float("inf")
# Of its own: an application that seeds `random` gets its own numbers.
_random = random.Random().random  # noqa: S311


class Value(Protocol):
    """What a series has."""

    def samples(self) -> Iterator[Shown]:
        """Yield what is shown of it."""


class Counter:
    """A sum that only rises."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0.0

    def add(self, value: float) -> None:
        """Add what is not negative."""
        self.total += value

    def samples(self) -> Iterator[Shown]:
        """Yield the sum."""
        yield "_total", {}, self.total


class Gauge:
    """A number that was set, or moved."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        """Set it."""
        self.value = value

    def move(self, value: float) -> None:
        """Add, or subtract."""
        self.value += value

    def samples(self) -> Iterator[Shown]:
        """Yield the number."""
        yield "", {}, self.value


class Histogram:
    """Counts of observations, by upper bounds."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = array("d", bytes(8 * (len(bounds) + 1)))
        self._sum = 0.0

    def observe(self, value: float, times: int) -> None:
        """Add an observation that stands for `times`."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def samples(self) -> Iterator[Shown]:
        """Yield buckets, count and sum."""
        counts = list(accumulate(self._counts))
        for bound, count in zip((*self._bounds, INF), counts, strict=True):
            yield "_bucket", {"le": go_number(bound)}, count
        yield "_count", {}, counts[-1]
        yield "_sum", {}, self._sum


class Windows(NamedTuple):
    """Over which time quantiles are taken: `seconds`, in so many `parts`."""

    seconds: float = 600.0
    parts: int = 5


# Observations that one part of a window keeps: a random choice once there are more.
KEPT = 400


class Summary:
    """Count and sum of observations, and quantiles of the last ones.

    They are exact up to KEPT observations in a part of the window, then those of a random choice.
    """

    __slots__ = ("_clock", "_count", "_parts", "_quantiles", "_sum", "_windows")

    def __init__(
        self,
        quantiles: Sequence[float],
        windows: Windows,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quantiles = quantiles
        self._windows = windows
        self._clock = clock
        self._count = 0
        self._sum = 0.0
        self._parts: deque[_Part] = deque(maxlen=windows.parts)

    def observe(self, value: float, times: int) -> None:
        """Add an observation that stands for `times`."""
        self._count += times
        self._sum += value * times
        self._now().add(value, times)

    def _now(self) -> _Part:
        place = int(self._clock() * self._windows.parts / self._windows.seconds)
        if not self._parts or self._parts[-1].place != place:
            self._parts.append(_Part(place))
        return self._parts[-1]

    def samples(self) -> Iterator[Shown]:
        """Yield quantiles, NaN where nothing was observed of late, count and sum."""
        first = self._now().place - self._windows.parts
        weighted = [pair for part in self._parts if part.place > first for pair in part.weighted()]
        for quantile, value in zip(
            self._quantiles, _quantiles(sorted(weighted), self._quantiles), strict=True
        ):
            yield "", {"quantile": go_number(quantile)}, value
        yield "_count", {}, self._count
        yield "_sum", {}, self._sum


class _Part:
    """A choice of the observations of one part of the window, each as likely as any other."""

    __slots__ = ("_chosen", "_seen", "place")

    def __init__(self, place: int) -> None:
        self.place = place
        self._chosen = array("d")
        self._seen = 0

    def add(self, value: float, times: int) -> None:
        if times > KEPT:
            self._add_many(value, times)
            return
        for _ in range(times):
            self._seen += 1
            if len(self._chosen) < KEPT:
                self._chosen.append(value)
            elif (at := int(_random() * self._seen)) < KEPT:
                self._chosen[at] = value

    def _add_many(self, value: float, times: int) -> None:
        # What was chosen stays with the chance that it has among all of them.
        stays = max(self._seen, KEPT) / (self._seen + times)
        self._chosen = array("d", (old if _random() < stays else value for old in self._chosen))
        self._chosen.extend([value] * (KEPT - len(self._chosen)))
        self._seen += times

    def weighted(self) -> Iterator[tuple[float, float]]:
        """Yield each chosen observation with the number of those that it stands for."""
        weight = self._seen / max(1, len(self._chosen))
        return ((value, weight) for value in self._chosen)


def _quantiles(
    weighted: Sequence[tuple[float, float]], quantiles: Sequence[float]
) -> Iterator[float]:
    """Yield for each quantile the least value that has so great a part at or below it."""
    ranks = list(accumulate(weight for _, weight in weighted))
    for quantile in quantiles:
        if not ranks:
            yield float("nan")
        else:
            at = bisect_left(ranks, quantile * ranks[-1])
            yield weighted[min(at, len(ranks) - 1)][0]


SET_SECONDS = 10.0  # StatsD's own interval


class Set:
    """How many different members were named in the last 10 to 20 seconds."""

    __slots__ = ("_clock", "_limit", "_members", "_place", "_previous")

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._place = 0
        self._members: set[int] = set()
        self._previous: set[int] = set()

    def add(self, member: str) -> bool:
        """Add a member; return False where there is no place for one more."""
        self._turn()
        if len(self._members) >= self._limit and hash(member) not in self._members:
            return False
        self._members.add(hash(member))
        return True

    def _turn(self) -> None:
        place = int(self._clock() / SET_SECONDS)
        if place != self._place:
            self._previous = self._members if place == self._place + 1 else set()
            self._members = set()
            self._place = place

    def samples(self) -> Iterator[Shown]:
        """Yield the number of members."""
        self._turn()
        yield "", {}, float(len(self._members | self._previous))
