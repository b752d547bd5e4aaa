"""The text format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import Metric as MetricFamily
from prometheus_client import generate_latest
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from prom_middleware.instrumentation.families import BlockFamily

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

# From here on `floatToGoString` differs from `repr`.
EXPONENTS = 1e6
# Label sets in one slice: some tenths of a millisecond.
SLICE = 32


def render(families: Iterable[MetricFamily]) -> Iterator[bytes]:
    """Yield `families` as UTF-8 lines, in slices that take less than a millisecond each."""
    for one in families:
        yield from family(one)


def family(family: MetricFamily) -> Iterator[bytes]:
    """Return the slices of one family."""
    return _blocks(family) if isinstance(family, BlockFamily) else _others(family)


def _others(family: MetricFamily) -> Iterator[bytes]:
    yield generate_latest(_Collected([family]))  # type: ignore[arg-type, unused-ignore]


def _blocks(family: BlockFamily) -> Iterator[bytes]:
    name = family.name + ("_total" if family.type == "counter" else "")
    text = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {name} {text}\n# TYPE {name} {family.type}\n".encode()
    lines: list[str] = []
    for line in _lines(family, _pieces(family, name)):
        lines.append(line)
        if len(lines) == SLICE:
            yield "".join(lines).encode()
            lines.clear()
    yield "".join(lines).encode()


def _lines(family: BlockFamily, pieces: Sequence[str]) -> Iterator[str]:
    # Most of a scrape's time is spent here.
    wide = [piece.replace("%r", "%s") for piece in pieces]
    names = sorted((name, index) for index, name in enumerate(family.label_names))
    for row in family.rows():
        labels, values = row.labels, row.values
        own = ",".join([f'{name}="{_escaped(labels[index])}"' for name, index in names])
        if max(values) < EXPONENTS:
            yield own.join(pieces) % tuple(values)
        else:
            yield own.join(wide) % tuple(map(floatToGoString, values))


def _escaped(value: str) -> str:
    if "\\" in value or "\n" in value or '"' in value:
        value = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value.replace("%", "%%") if "%" in value else value


def _pieces(family: BlockFamily, name: str) -> list[str]:
    """Return what stands around the labels of one label set."""
    if family.type == "histogram":
        return _histogram_pieces(name, family.bounds, bool(family.label_names))
    return [f"{name}{{", "} %r\n"] if family.label_names else [f"{name} %r\n"]


def _histogram_pieces(name: str, bounds: Sequence[float], labelled: bool) -> list[str]:
    comma = "," if labelled else ""
    edges = [*map(floatToGoString, bounds), "+Inf"]
    starts = [f'{name}_bucket{{le="{edge}"{comma}' for edge in edges]
    if labelled:
        starts += [f"{name}_count{{", f"{name}_sum{{"]
        return [starts[0], *(f"}} %r\n{start}" for start in starts[1:]), "} %r\n"]
    return ["".join(f"{start}}} %r\n" for start in starts) + f"{name}_count %r\n{name}_sum %r\n"]


class _Collected(Collector):
    """What `generate_latest` takes in the place of a registry."""

    def __init__(self, families: Iterable[Any]) -> None:
        self._families = families

    def collect(self) -> Iterable[Any]:
        """Return the families."""
        return self._families
