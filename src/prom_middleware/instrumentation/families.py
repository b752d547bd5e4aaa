"""Metric families that are made from blocks of cells, as samples or as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client.core import Metric as MetricFamily
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from prom_middleware.stores import Labels

# From here on `floatToGoString` differs from `repr`.
EXPONENTS = 1e6


class BlockFamily(MetricFamily):
    """A family that makes its samples when it is asked for them; its text needs none.

    `fill` makes them; `values` are those of each label set in the order of the `patterns`, which
    are pieces of text that the label set's own text joins.
    """

    def __init__(
        self,
        empty: MetricFamily,
        fill: Callable[[], Sequence[Any]],
        rows: list[tuple[Labels, list[float]]],
        pieces: Sequence[str],
    ) -> None:
        self._fill = fill
        self._samples: Sequence[Any] | None = None
        super().__init__(empty.name, empty.documentation, empty.type)
        self._samples = None
        self._names = empty._labelnames  # type: ignore[attr-defined]
        self._rows = rows
        self._pieces = pieces

    @property
    def samples(self) -> Any:
        """Return the samples."""
        if self._samples is None:
            self._samples = self._fill()
        return self._samples

    @samples.setter
    def samples(self, samples: Any) -> None:
        self._samples = samples

    def text(self) -> str:
        """Return the family in the text format, version 0.0.4."""
        name = self.name + ("_total" if self.type == "counter" else "")
        text = self.documentation.replace("\\", r"\\").replace("\n", r"\n")
        return f"# HELP {name} {text}\n# TYPE {name} {self.type}\n" + "".join(self._lines())

    def _lines(self) -> Iterable[str]:
        # Most of a scrape's time is spent here.
        pieces, wide = self._pieces, [piece.replace("%r", "%s") for piece in self._pieces]
        names = sorted((name, index) for index, name in enumerate(self._names))
        for labels, values in self._rows:
            own = ",".join([f'{name}="{_escaped(labels[index])}"' for name, index in names])
            if max(values) < EXPONENTS:
                yield own.join(pieces) % tuple(values)
            else:
                yield own.join(wide) % tuple(map(floatToGoString, values))


def _escaped(value: str) -> str:
    if "\\" in value or "\n" in value or '"' in value:
        value = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value.replace("%", "%%") if "%" in value else value


def number_pieces(name: str, labelled: bool) -> list[str]:
    """Return what stands around the labels of a counter or a gauge."""
    return [f"{name}{{", "} %r\n"] if labelled else [f"{name} %r\n"]


def histogram_pieces(name: str, bounds: Sequence[float], labelled: bool) -> list[str]:
    """Return what stands around the labels of a histogram."""
    comma = "," if labelled else ""
    edges = [*map(floatToGoString, bounds), "+Inf"]
    starts = [f'{name}_bucket{{le="{edge}"{comma}' for edge in edges]
    if labelled:
        starts += [f"{name}_count{{", f"{name}_sum{{"]
        return [starts[0], *(f"}} %r\n{start}" for start in starts[1:]), "} %r\n"]
    return ["".join(f"{start}}} %r\n" for start in starts) + f"{name}_count %r\n{name}_sum %r\n"]


def histogram_values(block: list[float], first: int) -> list[float]:
    """Return a histogram's numbers: cumulative buckets, count and sum."""
    values = list(accumulate(block[first:], initial=0.0))
    del values[0]
    values += [values[-1], block[0] + 0.0]
    return values
