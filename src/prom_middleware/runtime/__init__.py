"""What the processes cost that serve the application, and how their interpreters fare.

installation.py  `install`: everything below in one registry, by one call
interpreter.py   the collector of it: garbage collection, event loops, threads, packages
recording.py     cells that are written while the process works
pauses.py        how long garbage collection stops the process
loops.py         how late event loops are, and their tasks
packages.py      versions of what is loaded
procfs.py        what /proc says of one process
holders.py       who holds the slots of a store
gauges.py        what is read from living processes alone
ledger.py        CPU time that is never counted twice and never forgotten
processes.py     the collector of all workers, in the place of prometheus_client's
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prom_middleware.lazy import lazily

if TYPE_CHECKING:
    from prom_middleware.runtime.installation import install, uninstall, watch_event_loop

__all__ = ["install", "uninstall", "watch_event_loop"]

# A door that shows the processes of all workers has no use for the rest.
_INSTALLATION = "prom_middleware.runtime.installation"
__getattr__, __dir__ = lazily(__name__, dict.fromkeys(__all__, _INSTALLATION))
