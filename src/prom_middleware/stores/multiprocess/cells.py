"""What stands for the cells while they are in no file, or not all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prom_middleware.stores.contract import Cells

if TYPE_CHECKING:
    from typing import TypeAlias

    Mapped: TypeAlias = memoryview[float]

NOTHING = memoryview(bytearray()).cast("d")

# The first offset of blocks that are in no dictionary: far behind what any vector can have.
PRIVATE = 1 << 40


class Unbound:
    """Take a slot at the first write, and let it have what was to be written."""

    __slots__ = ("_bind",)

    def __init__(self, bind: Callable[[], Cells]) -> None:
        self._bind = bind

    def __getitem__(self, index: int, /) -> float:
        return self._bind()[index]

    def __setitem__(self, index: int, value: float, /) -> None:
        self._bind()[index] = value


class Patched:
    """A mapped vector as far as it goes, and this process's memory for the rest.

    After each write to memory `retry` is called, and gives back what is mapped then.
    """

    __slots__ = ("_mapped", "_private", "_retry")

    def __init__(
        self, mapped: Mapped, private: dict[int, float], retry: Callable[[], Mapped]
    ) -> None:
        self._mapped = mapped
        self._private = private
        self._retry = retry

    def __getitem__(self, index: int, /) -> float:
        mapped = self._mapped
        return mapped[index] if index < len(mapped) else self._private.get(index, 0.0)

    def __setitem__(self, index: int, value: float, /) -> None:
        mapped = self._mapped
        if index < len(mapped):
            mapped[index] = value
        else:
            self._private[index] = value
            self._mapped = self._retry()
