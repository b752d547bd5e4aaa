"""One body for all scrapes that want the same: text in slices, coded and put into parts."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterable
from typing import Any, NamedTuple, TypeVar

from prometheus_client import Metric as MetricFamily

from prom_middleware.exposition.collecting.checks import GarbageError
from prom_middleware.exposition.collecting.collection import Collection, Steps
from prom_middleware.exposition.compression import compress
from prom_middleware.exposition.formats.escaping import escape_metric_name
from prom_middleware.exposition.negotiation import Format
from prom_middleware.exposition.refusals import Refusal
from prom_middleware.exposition.selection.columns import whole_points
from prom_middleware.exposition.selection.parameters import Selection
from prom_middleware.naming import names_of

# What is sent at once, in bytes.
PART = 64 * 1024

Text = Generator[bytes, None, None]
_Result = TypeVar("_Result")


class Wanted(NamedTuple):
    """What a scrape wants to have, and how long it may take, in seconds."""

    form: Format
    coding: str
    selection: Selection
    seconds: float
    # Of a federation: what its series are labelled with beside their own labels; else None.
    external_labels: tuple[tuple[str, str], ...] | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """Return what is equal for scrapes that can have the same body."""
        form = (self.form.key, self.coding, self.external_labels)
        return (*form, self.selection.key, self.seconds)


class _SpoiledError(Exception):
    """A family failed when a part of it was there already."""


class Rendering:
    """The body that one collection makes for one wish."""

    def __init__(self, wanted: Wanted, collection: Collection, deadline: float) -> None:
        self.wanted = wanted
        self.parts: list[bytes] = []
        self.kept = 0  # families that are in it
        self._collection = collection
        self._deadline = deadline
        self._idle = False
        self._is_careful = False
        self._left_out: set[Hashable] = set()
        self._names: dict[str, str] = {}  # as they are written

    def steps(self) -> Steps:
        """Make the body; raise a Refusal where nothing can be shown.

        Where a family fails in the middle of it, it is begun anew, and from then on no part of a
        family is taken before all of it is there: however many fail, there is no third beginning.
        """
        try:
            yield from self.fill()
        except _SpoiledError:
            self._is_careful = True
            yield from self.fill()

    def fill(self) -> Steps:
        """Make the body once; raise _SpoiledError where it is to be begun anew."""
        self.parts, self.kept, self._names = [], 0, {}
        slices: list[bytes] = []
        size = 0
        for piece in compress(self._text(), self.wanted.coding):
            slices.append(piece)
            size += len(piece)
            if size >= PART:
                self.parts.append(b"".join(slices))
                slices, size = [], 0
            yield not piece and self._idle
        self.parts.append(b"".join(slices))

    def _text(self) -> Text:
        """Yield the text in slices; empty ones are steps as well."""
        done = 0
        families = self._collection.families
        while True:
            while done < len(families):
                family = families[done]
                yield from self.guarded(id(family), self.family(family))
                done += 1
            if not self._collection.waits_for(self.wanted.seconds, self._deadline):
                break
            self._idle = True
            yield b""
            self._idle = False
            yield from blank(self._collection.take_late())
        yield from self.last()
        yield self.wanted.form.end

    def family(self, family: MetricFamily) -> Text:
        """Yield what is wanted of a family, at its place."""
        selected = yield from blank(self.wanted.selection.select(family))
        if selected is not None:
            self._take_names(family)
            for part in (yield from blank(self._parts(family, selected))):
                yield from self.wanted.form.family(part)
            self.kept += 1

    def _parts(
        self, family: MetricFamily, selected: MetricFamily
    ) -> Generator[None, None, list[MetricFamily]]:
        if not self.wanted.form.points:
            return [selected]
        return (yield from whole_points(family, selected))

    def _take_names(self, family: MetricFamily) -> None:
        for name in names_of(family.name, family.type):
            written = escape_metric_name(name, self.wanted.form.scheme)
            other = self._names.setdefault(written, family.name)
            if other != family.name:
                raise GarbageError(f"{family.name} is written as {written}, as {other} is already")

    def last(self) -> Text:
        """Yield what comes after all families."""
        yield from ()

    def guarded(self, key: Hashable, pieces: Iterable[bytes]) -> Text:
        """Yield `pieces`; where that fails, do without them, by their `key`."""
        if key in self._left_out:
            return
        begun = False
        try:
            for piece in _whole(pieces) if self._is_careful else pieces:
                yield piece
                begun = begun or bool(piece)
        except Refusal:
            raise
        except Exception as error:
            self._left_out.add(key)
            self._collection.fail("collector.garbage", error)
            if begun:
                raise _SpoiledError from error


def _whole(pieces: Iterable[bytes]) -> Text:
    """Yield `pieces` when all of them are there."""
    found: list[bytes] = []
    for piece in pieces:
        found.append(piece)
        yield b""
    yield from found


def blank(steps: Generator[bool | None, None, _Result]) -> Generator[bytes, None, _Result]:
    """Go through `steps`, which make no text, and return what they return."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _Result = end.value
            return result
        yield b""
