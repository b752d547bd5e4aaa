"""Where numbers live: the Store contract and the stores that keep it."""

from typing import TYPE_CHECKING

from prom_middleware.lazy import lazily
from prom_middleware.stores.base import Family, Labels, Settlement, Worker
from prom_middleware.stores.memory import MemoryStore
from prom_middleware.stores.turn import Turn

if TYPE_CHECKING:
    from prom_middleware.stores.contract import Cells, Snapshot, Store, Tally

__all__ = [
    "Cells",
    "Family",
    "Labels",
    "MemoryStore",
    "Settlement",
    "Snapshot",
    "Store",
    "Tally",
    "Turn",
    "Worker",
]

_CONTRACT = "prom_middleware.stores.contract"
__getattr__, __dir__ = lazily(
    __name__, dict.fromkeys(("Cells", "Snapshot", "Store", "Tally"), _CONTRACT)
)
