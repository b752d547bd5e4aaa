"""What the hot path reads of a door, and the cells that it counts in.

A class of its own, which imports nothing, so that a compiled build has it in a C structure: see
`at_hand.pxd`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prom_middleware.instrumentation.exemplars import Exemplars
    from prom_middleware.instrumentation.labels import ExtraLabels
    from prom_middleware.instrumentation.nesting import Prefixes
    from prom_middleware.instrumentation.recorder import Recorder
    from prom_middleware.stores import Labels, Store, Tally, Turn

# The cells of a block of requests before the buckets, beside the sum: see `series.Requests`.
SENT, RECEIVED, STREAMS, PROMISED, PROMISED_STREAMS = 1, 2, 3, 4, 5


class AtHand:
    """One door's part of the core, flat: each step to what lies deeper would cost a look-up."""

    recorder: Recorder
    turn: Turn
    store: Store
    running: dict[str, Tally]
    offsets: Mapping[Labels, int]
    edges: tuple[float, ...]
    # The first cell of the native histogram, 0 where there is none.
    native: int
    native_bounds: tuple[float, ...]
    # Where to look for OpenTelemetry: nowhere, unless there are to be exemplars.
    exemplars: Exemplars
    traced: bool
    modules: Mapping[str, Any]
    # What tells whether a span may be current; None until it is found there.
    context: Callable[[], object] | None
    # Whether a response is noted before it begins, see Observation.promise; and what a request has
    # been promised from the start: where nothing is, none is without a promise.
    promises: bool
    unpromised: Labels | None
    # Where a request keeps its observation, so that it is recorded once per registry.
    key: str
    resolve: Callable[[Any], str | None]
    prefixes: Prefixes
    excluded: Callable[[str], bool] | None
    extra_labels: ExtraLabels | None
