"""The hot path's other half: exact updates from any number of threads, without ever waiting.

The rules of `observation.py` hold here as well. Whoever takes the one token may write: `list.pop`
and `list.append` are atomic, and cost a third of `Lock.acquire` and `release`. Whoever finds the
token taken, by another thread or by the code that a signal interrupted, leaves the write in
`pending`; whoever gives the token back then looks there.

The token is the `append` of the list that it came from: `give(give)` returns it. So a list can be
replaced when its token is lost, which takes an exception from a signal handler at the very moment
of taking it, and a holder that comes back late cannot put a second token into the new list.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from threading import Event
from time import sleep
from typing import TYPE_CHECKING, Any, TypeVar

from prom_middleware import failures

if TYPE_CHECKING:
    from prom_middleware.instrumentation.observation import Observation
    from prom_middleware.instrumentation.series import Histogram, Series, SeriesSet
    from prom_middleware.stores import Labels, Store

View = TypeVar("View")

# How often a reader tries to take the token itself, a millisecond apart.
PATIENCE = 20


class Recorder:
    """Write the requests of one registry to one store."""

    def __init__(self, store: Store, series: SeriesSet) -> None:
        self._renew()
        self.pending: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.live: dict[str, int] = {}
        self._requests = series.requests
        self.store = store
        self.series = series

    def _renew(self) -> None:
        token: list[Any] = []
        token.append(token.append)
        self.take: Callable[[], Callable[[Any], None]] = token.pop

    def forget(self, method: str) -> None:
        """Count one less request in progress."""
        self.update(self._add_live, method, -1)

    def abort(self, labels: Labels, reason: str) -> None:
        """Count a response that was not sent whole."""
        self.add(self.series.aborted, (*labels[:2], reason, *labels[3:]))

    def raised(self, labels: Labels, error: BaseException) -> None:
        """Count an exception by its class's name."""
        self.add(self.series.exceptions, (*labels[:2], type(error).__name__, *labels[3:]))

    def add(self, series: Series, labels: Labels, amount: float = 1) -> None:
        """Add to a series that is one number."""
        self.update(self._add, series, labels, amount)

    def observe(self, series: Histogram, labels: Labels, value: float) -> None:
        """Add one value to a histogram."""
        self.update(self._observe, series, labels, value)

    def update(self, write: Callable[..., object], *arguments: Any) -> None:
        """Call `write(*arguments)`: now, or as soon as whoever writes is done."""
        self.pending.append((write, arguments))
        self.drain()

    def read(self, view: Callable[[], View], timeout: float = 1.0) -> View:
        """Return what `view` sees between two updates.

        A reader may wait, a writer never does. A write takes microseconds: where nobody gave the
        token back for `timeout` seconds, it is lost, and there is a new one.
        """
        for _ in range(PATIENCE):
            try:
                give = self.take()
            except IndexError:
                sleep(0.001)
                continue
            try:
                self._carry_out()
                return view()
            finally:
                give(give)
                self.drain()
        return self._read_in_turn(view, timeout)

    def _read_in_turn(self, view: Callable[[], View], timeout: float) -> View:
        # Under so many writers that the token was never free: one of them looks for us.
        seen: list[View] = []
        done = Event()

        def look() -> None:
            try:
                seen.append(view())
            finally:
                done.set()

        self.update(look)
        if not done.wait(timeout):
            self._renew()
            self.drain()
        return seen[0] if seen else view()

    def drain(self) -> None:
        """Carry out what others left, unless whoever has the token will."""
        while self.pending:
            try:
                give = self.take()
            except IndexError:
                return
            try:
                self._carry_out()
            finally:
                give(give)

    def _carry_out(self) -> None:
        pending = self.pending
        while pending:
            write, arguments = pending.popleft()
            try:
                write(*arguments)
            except Exception as error:
                failures.report("record", error)

    # What follows is called by whoever has the token.

    def begin(self, method: str) -> None:
        """Count one more request in progress."""
        self._add_live(method, 1)

    def finish(self, observation: Observation, labels: Labels, seconds: float) -> None:
        """Record an answered request, and that it is no longer in progress."""
        series = self._requests
        try:
            self.store.cells[self.live[observation.method]] -= 1
        except KeyError:  # the beginning of the first one still waits in `pending`
            self._add_live(observation.method, -1)
        offset = series.offsets.get(labels)
        if offset is None:
            offset = series.offset(labels)
        cells = self.store.cells
        if observation.event_stream:
            cells[offset + series.streams] += 1
            self._observe(self.series.streams, (labels[1], *labels[3:]), seconds)
        else:
            cells[offset + bisect_left(series.bounds, seconds)] += 1
            cells[offset + series.sum] += seconds
        if observation.sent:
            cells[offset + series.sent] += observation.sent
        if observation.received:
            cells[offset + series.received] += observation.received

    def _add_live(self, method: str, amount: float) -> None:
        offset = self.live.get(method)
        if offset is None:
            offset = self.live[method] = self.series.in_progress.offset((method,))
        self.store.cells[offset] += amount

    def _add(self, series: Series, labels: Labels, amount: float) -> None:
        offset = series.offset(labels)
        self.store.cells[offset] += amount

    def _observe(self, series: Histogram, labels: Labels, value: float) -> None:
        offset = series.offset(labels)
        cells = self.store.cells
        cells[offset + bisect_left(series.bounds, value)] += 1
        cells[offset + series.sum] += value
