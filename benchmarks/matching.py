"""Take a framework's own matching of routes out of what is measured.

With 500 of them it takes a hundred times as long as a middleware, and its noise hides what the
middleware does. It is done all the same, since it leaves the processor's caches full of routes.

So it does with one route of the application and 499 strangers, which are tried in the same way but
are none of the application's: what a middleware knows of is one route then, and the caches are as
full. By that, what the number of routes does to a middleware can be told from what it does to the
caches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import process_time
from typing import Any


class Stopwatch:
    """The processor time between two places that each request comes by."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = 0.0

    def start(self) -> None:
        """Begin to count."""
        self._started = process_time()

    def stop(self) -> None:
        """Count no further."""
        self.seconds += process_time() - self._started

    def without(self, drive: Callable[[int], float]) -> Callable[[int], float]:
        """Return what drives as `drive` does, less what was counted meanwhile."""

        def rest(number: int) -> float:
            before = self.seconds
            return drive(number) - (self.seconds - before)

        return rest

    def around(
        self,
        routes: Sequence[Any],
        mark: Callable[[Callable[[], None]], Any],
        hide: Callable[[Sequence[Any]], Any] | None = None,
    ) -> list[Any]:
        """Return `routes` with two more, so that all but the last one's matching is counted.

        `mark` makes a route that matches nothing, and calls what it is given when it is tried.
        `hide` makes all but the last strangers: a route that matches nothing, and tries them.
        """
        others = routes[:-1] if hide is None else [hide(routes[:-1])]
        return [mark(self.start), *others, mark(self.stop), routes[-1]]
