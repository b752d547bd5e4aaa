"""Where numbers live: the Store contract and the stores that keep it."""

from typing import TYPE_CHECKING

from prom_middleware.lazy import lazily

if TYPE_CHECKING:
    from prom_middleware.stores.base import Family, Labels, Settlement, Worker
    from prom_middleware.stores.contract import Cells, Snapshot, Store, Tally
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
    "Tally",
    "Turn",
    "Worker",
]

_MODULES = {
    "base": ("Family", "Labels", "Settlement", "Worker"),
    "contract": ("Cells", "Snapshot", "Store", "Tally"),
    "memory": ("MemoryStore",),
    "turn": ("Turn",),
}
__getattr__, __dir__ = lazily(
    __name__, {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}
)
