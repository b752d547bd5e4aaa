"""What stands in the place of an application's body."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator


class Body:
    """An iterable that is its own iterator as well, for servers that do not ask for one."""

    __slots__ = ()  # a second base cannot have any: whoever derives from this has the one

    pieces: Iterator[bytes]

    @abstractmethod
    def __iter__(self) -> Iterator[bytes]:
        """Iterate what the server gets."""

    def __next__(self) -> bytes:
        try:
            pieces = self.pieces
        except AttributeError:  # the first time
            pieces = self.pieces = iter(self)  # type: ignore[misc]
        return next(pieces)
