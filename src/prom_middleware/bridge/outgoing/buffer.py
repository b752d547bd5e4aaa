"""What could not be sent yet: the newest of it, and no more than was agreed."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple


class Batch(NamedTuple):
    """What one collection gave, as its destination sends it."""

    content: Any
    samples: int


class Buffer:
    """Batches in their order, `limit` samples at most; the oldest make room.

    The newest one is kept whatever its size: it is in memory anyway.
    """

    def __init__(self, limit: int) -> None:
        self.samples = 0
        self._limit = limit
        self._batches: deque[Batch] = deque()

    def append(self, batch: Batch) -> int:
        """Add a batch; return how many samples were dropped for it."""
        self._batches.append(batch)
        self.samples += batch.samples
        dropped = 0
        while self.samples > self._limit and len(self._batches) > 1:
            dropped += self.pop().samples
        return dropped

    def first(self) -> Batch | None:
        """Return the oldest batch."""
        return self._batches[0] if self._batches else None

    def pop(self) -> Batch:
        """Remove the oldest batch, and return it."""
        batch = self._batches.popleft()
        self.samples -= batch.samples
        return batch

    def clear(self) -> int:
        """Remove all; return how many samples that were."""
        lost, self.samples = self.samples, 0
        self._batches.clear()
        return lost
