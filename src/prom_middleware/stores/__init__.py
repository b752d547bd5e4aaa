"""Where numbers live: the Store contract and the stores that keep it."""

from prom_middleware.stores.base import Cells, Family, Labels, Store
from prom_middleware.stores.memory import MemoryStore

__all__ = ["Cells", "Family", "Labels", "MemoryStore", "Store"]
