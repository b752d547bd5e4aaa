"""The hot path's other half: what one request changes in the cells.

The rules of `observation.py` hold here as well.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from prom_middleware.instrumentation.at_hand import PROMISED, PROMISED_STREAMS

if TYPE_CHECKING:
    from prom_middleware.instrumentation.observation import Observation
    from prom_middleware.instrumentation.series import Histogram, Series, SeriesSet
    from prom_middleware.stores import Labels, Store, Tally


class Recorder:
    """Write the requests of one registry to one store."""

    def __init__(self, store: Store, series: SeriesSet) -> None:
        from prom_middleware.instrumentation.exemplars import Exemplars  # no import of a door waits

        self.turn = store.turn
        self.store = store
        self.series = series
        self.running: dict[str, Tally] = {}  # requests in progress, by method
        self.client_codes: set[int] = set()  # with which clients have closed websockets
        self.exemplars = Exemplars(store, series)
        self._requests = series.requests

    def begin(self, method: str) -> None:
        """Count one more request in progress, the first of its method."""
        self.turn.update(self._begin, method)

    def forget(self, method: str) -> None:
        """Count one less request in progress."""
        self.turn.update(self._end, method)

    def promise(self, observation: Observation, labels: Labels) -> None:
        """Note that a response with these labels begins."""
        self.turn.update(self._promise_ours, observation, labels)
        if self.turn.pending:  # what waits in memory is lost when this process is killed
            self.turn.settle()

    def abort(self, labels: Labels, reason: str) -> None:
        """Count a response that was not sent whole."""
        self.add(self.series.aborted, (*labels[:2], reason, *labels[3:]))

    def raised(self, labels: Labels, error: BaseException) -> None:
        """Count an exception by its class's name."""
        self.add(self.series.exceptions, (*labels[:2], type(error).__name__, *labels[3:]))

    def add(self, series: Series, labels: Labels, amount: float = 1) -> None:
        """Add to a series that is one number."""
        self.turn.update(self._add, series, labels, amount)

    def observe(self, series: Histogram, labels: Labels, value: float) -> None:
        """Add one value to a histogram."""
        self.turn.update(self._observe, series, labels, value)

    # What follows is called by whoever has the store's turn.

    def end(self, method: str) -> None:
        """Count one less request in progress, after those whose beginning still waits."""
        self.turn.pending.append((self._end, (method,)))

    def allocate(self, labels: Labels) -> int:
        """Return the first cell of the block of requests with `labels`, new or not."""
        return self._requests.offset(labels)

    def observe_stream(self, labels: Labels, seconds: float) -> None:
        """Add the time that an event stream was open."""
        self._observe(self.series.streams, (labels[1], *labels[3:]), seconds)

    def is_ours(self, observation: Observation) -> bool:
        """Tell whether a request began here, not before a fork; and look after the store."""
        self.store.look(observation.started)
        if observation.started >= self.store.born:
            return True
        observation.done = True  # the parent records it
        return False

    def _promise_ours(self, observation: Observation, labels: Labels) -> None:
        if self.is_ours(observation):
            self.promise_instead(observation, labels)

    def promise_instead(self, observation: Observation, labels: Labels) -> None:
        """Note that a response has these labels, and not those of a start that was refused.

        What is promised is the block that counts them: another process may make the labels' own
        one before the response has ended.
        """
        promised, rare, before, cell = observation.promised, observation.rare, PROMISED, PROMISED
        if rare is not None:
            before, cell = rare.promised_in, PROMISED_STREAMS if rare.event_stream else PROMISED
            rare.promised_in = cell
        if promised == labels and before == cell:
            return
        observation.promised = self._promise(labels, cell, 1)
        if promised is not None:
            self._promise(promised, before, -1)

    def _promise(self, labels: Labels, cell: int, number: float) -> Labels:
        offset = self._requests.offset(labels, counted=False)
        self.store.cells[offset + cell] += number
        return self._requests.shown(labels)

    def _begin(self, method: str) -> None:
        tally = self.running.get(method)
        if tally is None:
            family = self.series.in_progress.family
            tally = self.running[method] = self.store.tally(family, (method,))
        tally.append(None)

    def _end(self, method: str) -> None:
        self.running[method].pop()

    def _add(self, series: Series, labels: Labels, amount: float) -> None:
        offset = series.offset(labels)
        self.store.cells[offset] += amount

    def _observe(self, series: Histogram, labels: Labels, value: float) -> None:
        offset = series.offset(labels)
        cells = self.store.cells
        if series.native:
            cells[offset + series.native + bisect_left(series.native_bounds, value)] += 1
        cells[offset + bisect_left(series.edges, value)] += 1
        cells[offset] += value
