"""What is said of a list of measured values: the median, the quartiles, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Figure:
    """A median with its quartiles; `error` is half the width of its 95 % interval."""

    median: float
    low: float
    high: float
    error: float
    number: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """Summarise `values`."""
        low, _, high = quantiles(values, n=4) if len(values) > 1 else [*values] * 3
        least, most = _interval(values, 0.5)
        return cls(median(values), low, high, (most - least) / 2, len(values))

    @classmethod
    def at(cls, values: Sequence[float], quantile: float) -> Figure:
        """Return a quantile as the `median`, with its 95 % interval from `low` to `high`."""
        low, high = _interval(values, quantile)
        value = sorted(values)[int(len(values) * quantile)]
        return cls(value, low, high, (high - low) / 2, len(values))

    def show(self, scale: float = 1e6, digits: int = 2) -> str:
        """Return `median [low, high]`, in millionths unless told otherwise."""
        low, high = self.low * scale, self.high * scale
        return f"{self.median * scale:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _interval(values: Sequence[float], quantile: float) -> tuple[float, float]:
    # The order statistics that the quantile lies between, 19 times of 20.
    ordered, number = sorted(values), len(values)
    reach = 1.96 * math.sqrt(number * quantile * (1 - quantile))
    low = max(math.floor(number * quantile - reach), 0)
    high = min(math.ceil(number * quantile + reach), number - 1)
    return ordered[low], ordered[high]


@dataclass(frozen=True)
class Target:
    """A figure that should stay below a limit."""

    what: str
    value: float
    error: float
    limit: float
    unit: str = ""

    @classmethod
    def ratio(cls, what: str, over: Figure, under: Figure, limit: float) -> Target:
        """Return the target for a quotient of two medians."""
        if min(over.median, under.median) <= 0:
            return cls(what, math.nan, math.nan, limit)
        value = over.median / under.median
        return cls(what, value, value * _relative(over, under), limit)

    @property
    def verdict(self) -> str:
        """Say whether the limit is kept; not where the noise is too large to tell."""
        unsure = abs(self.value - self.limit) < self.error
        if math.isnan(self.value) or (unsure and self.error > self.limit / 3):
            return "not resolved"
        verdict = "met" if self.value <= self.limit else "**missed**"
        return f"{verdict}, within the noise" if unsure else verdict

    def show(self) -> str:
        """Return the value, and how sure it is."""
        if math.isnan(self.value):
            return "below the noise"
        error = f" ± {self.error:.2g}" if self.error else ""
        return f"{self.value:.3g}{error}{self.unit}"


def _relative(*figures: Figure) -> float:
    return math.sqrt(sum((figure.error / figure.median) ** 2 for figure in figures))
