"""Where numbers live: the Store contract and the stores that keep it."""

from prom_middleware.stores.base import (
    Cells,
    Family,
    Labels,
    Settlement,
    Snapshot,
    Store,
    Worker,
)
from prom_middleware.stores.memory import MemoryStore
from prom_middleware.stores.turn import Turn

__all__ = [
    "Cells",
    "Family",
    "Labels",
    "MemoryStore",
    "Settlement",
    "Snapshot",
    "Store",
    "Turn",
    "Worker",
]
