"""Imported by what is served: its processes wait for each other for as long as it takes.

On a machine that is busy with other tests, who has the store's lock or the turn may not run for
longer than a request would wait. What is recorded meanwhile is in memory, and lost if its worker is
killed then. That is a limit, shown where no clock decides (`stores/test_turn.py`,
`stores/multiprocess/test_store.py`), and not what is asked of servers whose workers are killed.
"""

from prom_middleware.stores import turn
from prom_middleware.stores.multiprocess import store

turn.PATIENCE = 30_000  # milliseconds
store.HURRY = store.PATIENCE = 30.0
