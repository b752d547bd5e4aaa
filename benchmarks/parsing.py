"""What parsing 2 MB costs, beside `prometheus_client`: our own page, and others' of many kinds."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as their_openmetrics
from prometheus_client.parser import text_string_to_metric_families as their_text

from benchmarks import pages, parts
from benchmarks.figures import Figure, Target
from benchmarks.registries import recorded
from benchmarks.rounds import interleaved
from benchmarks.tables import table
from prom_middleware.exposition.negotiation import negotiate
from prom_middleware.parser import (
    openmetrics_string_to_metric_families,
    parse,
    text_string_to_metric_families,
)

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROTOBUF = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)
SIZE, SMALL = 2_000_000, 20_000  # bytes
ROUNDS, FEW = 9, 2
TIMES = 3  # so many times faster we should be

Figures = dict[str, Any]


def main() -> None:
    """Measure one part, and print the figures."""
    options = parts.options("parsing", "part", PARTS)
    size, rounds = (SMALL, FEW) if options.quick else (SIZE, ROUNDS)
    json.dump(PARTS[options.part](size, rounds), sys.stdout)


def text(size: int, rounds: int) -> Figures:
    """Parse what our door shows as text."""
    page = _page("text/plain", size)
    return _compare(page, text_string_to_metric_families, their_text, rounds)


def openmetrics(size: int, rounds: int) -> Figures:
    """Parse the same as OpenMetrics."""
    page = _page(OPENMETRICS, size)
    return _compare(page, openmetrics_string_to_metric_families, their_openmetrics, rounds)


def protobuf(size: int, rounds: int) -> Figures:
    """Parse the same as protobuf, which `prometheus_client` cannot."""
    body = _rendered(PROTOBUF, size)
    _settle()
    seconds = interleaved(rounds, ours=lambda: _drain(parse(body, PROTOBUF)))
    return {"ours": asdict(Figure.of(seconds["ours"])), "bytes": len(body)}


def _of(make: Callable[[int], str], ours: Any, theirs: Any) -> Callable[[int, int], Figures]:
    return lambda size, rounds: _compare(make(size), ours, theirs, rounds)


def _text(make: Callable[[int], str]) -> Callable[[int, int], Figures]:
    return _of(make, text_string_to_metric_families, their_text)


def _openmetrics(make: Callable[[int], str]) -> Callable[[int, int], Figures]:
    return _of(make, openmetrics_string_to_metric_families, their_openmetrics)


def _page(accept: str, size: int) -> str:
    return _rendered(accept, size).decode()


def _rendered(accept: str, size: int) -> bytes:
    registry, _ = recorded(size // 125)  # about the bytes of a line
    return b"".join(negotiate(accept).render(registry.collect()))


def _compare(page: str, ours: Any, theirs: Any, rounds: int) -> Figures:
    assert list(ours(page)) == list(theirs(page))
    _settle()
    seconds = interleaved(
        rounds, ours=lambda: _drain(ours(page)), theirs=lambda: _drain(theirs(page))
    )
    figures = {name: asdict(Figure.of(each)) for name, each in seconds.items()}
    return {**figures, "bytes": len(page)}


def _drain(found: Iterator[Any]) -> None:
    for _ in found:
        pass


def _settle() -> None:
    gc.collect()
    gc.freeze()


# Parts, what they are called, and what measures them.
KINDS: dict[str, tuple[str, Callable[[int, int], Figures]]] = {
    "text": ("text of our door", text),
    "families": ("text of many small families", _text(pages.families)),
    "alone": ("text of families of one sample", _text(pages.alone)),
    "summaries": ("text of summaries", _text(pages.summaries)),
    "labels": ("text with ten labels in a line", _text(pages.labels)),
    "times": ("text with times", _text(pages.times)),
    "escapes": ("text with escapes", _text(pages.escapes)),
    "commas": ("text with commas, quotes and brackets in labels", _text(pages.commas)),
    "untold": ("text of samples without labels or types", _text(pages.untold)),
    "utf8": ("text with names between quotes", _text(pages.quoted)),
    "openmetrics": ("OpenMetrics of our door", openmetrics),
    "openmetrics_families": (
        "OpenMetrics of many small families",
        _openmetrics(pages.openmetrics_families),
    ),
    "openmetrics_alone": (
        "OpenMetrics of families of one sample",
        _openmetrics(pages.openmetrics_alone),
    ),
    "openmetrics_utf8": (
        "OpenMetrics with names between quotes",
        _openmetrics(pages.openmetrics_quoted),
    ),
    "created": (
        "OpenMetrics with times of creation",
        _openmetrics(pages.openmetrics_created),
    ),
    "states": ("OpenMetrics of state sets", _openmetrics(pages.states)),
    "exemplars": ("OpenMetrics with exemplars", _openmetrics(pages.exemplars)),
    "protobuf": ("protobuf of our door", protobuf),
}
PARTS = {part: measure for part, (_, measure) in KINDS.items()}


def targets(parts: dict[str, Figures]) -> Iterator[Target]:
    """Yield every target with what was measured."""
    for part, figures in parts.items():
        if "theirs" in figures:
            ours, theirs = Figure(**figures["ours"]), Figure(**figures["theirs"])
            what = f"parsing {KINDS[part][0]}: ours / prometheus_client"
            yield Target.ratio(what, ours, theirs, round(1 / TIMES, 4))


def section(parts: dict[str, Figures]) -> Iterator[str]:
    """Yield what the report says."""
    if not parts:
        return
    yield "## Parsing"
    yield (
        "All families of a page, one after the other, in turns with prometheus_client; both give "
        "equal ones, which is looked at before. It has no parser for protobuf."
    )
    yield table(("milliseconds", "bytes", "prom_middleware", "prometheus_client", ""), _rows(parts))


def _rows(parts: dict[str, Figures]) -> Iterator[tuple[str, ...]]:
    for part, figures in parts.items():
        ours = Figure(**figures["ours"])
        row = (KINDS[part][0], f"{figures['bytes']:,}", ours.show(1e3, 1))
        if "theirs" in figures:
            theirs = Figure(**figures["theirs"])
            times = f"{theirs.median / ours.median:.3g} times"
            yield *row, theirs.show(1e3, 1), times
        else:
            yield *row, "", ""


if __name__ == "__main__":
    main()
