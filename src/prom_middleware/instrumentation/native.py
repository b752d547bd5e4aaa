"""Native histograms: buckets that grow by a factor, beside the classic ones.

https://prometheus.io/docs/specs/native_histograms/; where that leaves a choice, the rules are those
of the reference, client_golang's histogram.go.

In the store they are plain counts, one cell for each bucket of schema 3 between a microsecond and
48 days: whatever sums the cells of all workers, and of dead ones, sums these as well, and a scrape
in the middle of an update sees whole numbers. What the reference does when an observation makes one
bucket too many is done when the cells are shown, to the sum of all workers. It depends on nothing
but which buckets there are, and those do not go away; so the resolution never comes back, as there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, ldexp
from sys import float_info
from typing import TypeVar

from prom_middleware.instrumentation.families import Native

Count = TypeVar("Count", int, float)

# Each bucket's bound is 2 ** (1/8) times the one before: 9 per cent. `FRACTIONS` are the bounds of
# the buckets from 0.5 to 1, as `frexp` gives them; the same 8 numbers as in the reference.
SCHEMA = 3
FRACTIONS = (
    *(0.5, 0.5452538663326288, 0.5946035575013605, 0.6484197773255048),
    *(0.7071067811865475, 0.7711054127039704, 0.8408964152537144, 0.9170040432046711),
)
# A bucket's width is doubled down to this schema, at which the bounds are 65536 apart.
LOWEST_SCHEMA = -4
MAX_BUCKETS = 160
# The reference's default; at most so many seconds are as good as none.
ZERO_THRESHOLD = 2.0**-128
# How far the zero bucket is widened before the others are: 61 microseconds, in which nothing is
# answered that anybody waits for. A bound of the schemas 3 to -1, so that no other bucket overlaps.
MAX_ZERO_THRESHOLD = 2.0**-14
# The reference can also begin anew once a configured time has passed, which by default is never. A
# histogram that begins anew has a count that falls, and ours do not.

# The indexes of the buckets that have a cell: 2**-20 seconds to 2**22.
FIRST, LAST = -159, 176
SHORTEST = 2.0**-20
# Where the reference has infinity: behind the bucket of the greatest number there is.
INFINITE = 1024 * len(FRACTIONS) + 1


def upper_bound(index: int, schema: int = SCHEMA) -> float:
    """Return the bound of a bucket, which is in it; of a schema from -4 to 3."""
    octave, part = divmod(index << (SCHEMA - schema), len(FRACTIONS))
    try:
        return ldexp(FRACTIONS[part], octave + 1)
    except OverflowError:  # the greatest number has a bucket that ends with it
        return float_info.max if (octave, part) == (1024, 0) else inf


# The bounds of the cells but for the last: zero, shorter than any bucket, the buckets. In the last
# are those that took longer, and those that never ended.
BOUNDS = (ZERO_THRESHOLD, SHORTEST, *map(upper_bound, range(FIRST, LAST + 1)))
WIDTH = len(BOUNDS) + 1


def native_of(cells: Sequence[float]) -> Native:
    """Return what is shown of the cells of a native histogram."""
    zero, shortest = cells[:2]
    buckets = {index: count for index, count in enumerate(cells[2:-1], FIRST) if count}
    if cells[-1]:
        buckets[INFINITE] = cells[-1]
    threshold = SHORTEST if shortest else ZERO_THRESHOLD
    return limited(Native(SCHEMA, threshold, zero + shortest, buckets))


def limited(native: Native, most: int = MAX_BUCKETS, widest: float = MAX_ZERO_THRESHOLD) -> Native:
    """Have at most so many buckets.

    The lowest go into the zero bucket while that is not wider than `widest`; is that not enough,
    two become one until it is.
    """
    schema, threshold, zeros, buckets = native
    if len(buckets) <= most:
        return native
    kept = dict(sorted(buckets.items()))
    for index in list(kept):
        bound = upper_bound(index, schema)
        if len(kept) <= most or bound > widest:
            break
        threshold, zeros = max(threshold, bound), zeros + kept.pop(index)
    while len(kept) > most and schema > LOWEST_SCHEMA:
        schema, kept = schema - 1, halved(kept)
    return Native(schema, threshold, zeros, kept)


def halved(buckets: Mapping[int, Count]) -> dict[int, Count]:
    """Return buckets of twice the width: those of the next lower schema, by their index there."""
    wider: dict[int, Count] = {}
    for index, count in buckets.items():
        twice = (index + 1) // 2
        wider[twice] = wider.get(twice, 0) + count
    return wider
