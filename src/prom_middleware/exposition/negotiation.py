"""Which format, and which coding, the answer to a scrape has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from prometheus_client import Metric as MetricFamily

from prom_middleware.exposition.accept import Range, ranges
from prom_middleware.exposition.compression import CODINGS
from prom_middleware.exposition.formats import composite, openmetrics, protobuf, readable, text
from prom_middleware.exposition.formats.escaping import SCHEMES, UNDERSCORES


class Format(NamedTuple):
    """One way to write families: the Content-Type to announce, and what writes one in slices.

    `family` raises for a family that cannot be written, which is then to be left out whole: what it
    has yielded of that family by then must not be sent. `end` stands after the last family. Names
    are written in `scheme`. Two formats are the same where their `key` is. One that writes `points`
    has one value for all samples of a label set.
    """

    content_type: str
    family: Callable[[MetricFamily], Iterator[bytes]]
    end: bytes = b""
    scheme: str = UNDERSCORES
    key: str = ""
    points: bool = False

    @property
    def has_native_histograms(self) -> bool:
        """Tell whether what is federated has native histograms in it: protobuf alone."""
        return self.content_type.startswith(PROTOBUF)

    def render(self, families: Iterable[MetricFamily]) -> Iterator[bytes]:
        """Yield `families`; raise for the first one that cannot be written."""
        for family in families:
            yield from self.family(family)
        if self.end:
            yield self.end


class _Kind(NamedTuple):
    """A media type and its parameters, as they are asked for, and how it is written."""

    name: str
    parameters: dict[str, str]
    announced: str
    family: Callable[[MetricFamily, str], Iterator[bytes]]
    end: bytes = b""
    unasked: bool = True  # also where only a part of it is asked for

    def matches(self, range_: Range) -> int:
        """Return how exactly a range means this kind: 0 for not at all, 1 for anything."""
        if range_.name != self.name:
            # `application/*` means JSON and its like: who has not named OpenMetrics may misread it.
            wide = ("*/*", "text/*") if self.name == "text/plain" else ("*/*",)
            return 1 + wide.index(range_.name) if self.unasked and range_.name in wide else 0
        given = {key: range_.parameters[key] for key in self.parameters if key in range_.parameters}
        if any(given[key].lower() != self.parameters[key].lower() for key in given):
            return 0
        if len(given) < len(self.parameters) and not self.unasked:
            return 0
        return 3 + len(given)


def _text(version: str) -> _Kind:
    announced = f"text/plain; version={version}; charset=utf-8"
    return _Kind("text/plain", {"version": version}, announced, text.family)


def _openmetrics(version: str) -> _Kind:
    name = "application/openmetrics-text"
    announced = f"{name}; version={version}; charset=utf-8"
    return _Kind(name, {"version": version}, announced, openmetrics.family, openmetrics.END)


PROTOBUF, MESSAGE = "application/vnd.google.protobuf", "io.prometheus.client.MetricFamily"
DELIMITED = {"proto": MESSAGE, "encoding": "delimited"}
# In the order of preference, where a range means several of them. A range without a version means
# the oldest one, as Go's reference handler has it.
KINDS = (
    _text("0.0.4"),
    _text("1.0.0"),
    _openmetrics("0.0.1"),
    _openmetrics("1.0.0"),
    _Kind(
        PROTOBUF,
        DELIMITED,
        f"{PROTOBUF}; proto={MESSAGE}; encoding=delimited",
        protobuf.family,
        unasked=False,
    ),
    _Kind(
        PROTOBUF,
        {"proto": MESSAGE, "encoding": "text"},
        f"{PROTOBUF}; proto={MESSAGE}; encoding=text",
        readable.family,
        unasked=False,
    ),
    # A draft: for who asks for it by its version.
    _openmetrics("2.0.0")._replace(family=composite.family, unasked=False),
)


# What a series can stand in by itself, whatever it is a part of.
_ALONE = (text.family, protobuf.family, readable.family)
_POINTS = (protobuf.family, readable.family, composite.family)
SERIES_KINDS = tuple(kind for kind in KINDS if kind.family in _ALONE)


def negotiate(accept: str, kinds: Sequence[_Kind] = KINDS) -> Format:
    """Return the format for an Accept header (RFC 9110 section 12.5.1); never raises.

    Several header lines are joined by commas. What cannot be had, or read, is answered with text
    0.0.4: a scraper has no use for a 406.
    """
    asked = ranges(accept)
    best, chosen, scheme = (0.0, False, 0), kinds[0], UNDERSCORES
    for kind in kinds:
        exact, place = max(
            ((kind.matches(one), -place) for place, one in enumerate(asked)), default=(0, 0)
        )
        if not exact or (exact < 3 and best[0]):  # what is not named is no better than text
            continue
        found = asked[-place]
        # At equal weights, what is named comes before what is not, then what is named first.
        rank = (found.weight, exact > 2, place)
        if found.weight and rank > best:
            best, chosen, scheme = rank, kind, _scheme(found)
    family = partial(_written, chosen.family, scheme)
    announced = f"{chosen.announced}; escaping={scheme}"
    points = chosen.family in _POINTS
    return Format(announced, family, chosen.end, scheme, announced, points)


def is_delimited(content_type: str) -> bool:
    """Tell whether a Content-Type means delimited protobuf: it says so by both parameters."""
    if PROTOBUF not in content_type.lower():  # most often
        return False
    return any(
        found.name == PROTOBUF and DELIMITED.items() <= found.parameters.items()
        for found in ranges(content_type)[:1]
    )


def _written(
    write: Callable[[MetricFamily, str], Iterator[bytes]], scheme: str, family: MetricFamily
) -> Iterator[bytes]:
    return write(family, scheme)


def _scheme(range_: Range) -> str:
    scheme = range_.parameters.get("escaping", "").lower()
    return scheme if scheme in SCHEMES else UNDERSCORES


def coding_of(accept_encoding: str) -> str:
    """Return the content coding for an Accept-Encoding header: gzip, zstd, or identity.

    Where several are as welcome, it is the one that costs the least to make.
    """
    weights: dict[str, float] = {}
    for one in ranges(accept_encoding):
        weights.setdefault(one.name.removeprefix("x-"), one.weight)
    others = weights.get("*", 0.0)
    best = max(CODINGS, key=lambda coding: weights.get(coding, others))
    return best if weights.get(best, others) else "identity"
