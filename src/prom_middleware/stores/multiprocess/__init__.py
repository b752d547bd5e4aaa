"""One store for all processes of a server: one dictionary, and a vector for each worker.

servers.py       which server has this process as a worker
directory.py     where its workers find each other, where nobody says it
layout.py        what the files are called, and what is in them
making.py        how they are made, and whose they are
openfile.py      a file that is open for as long as somebody uses it
locking.py       the directory's lock, with bounded patience
dictionary.py    which block is where, agreed on by all workers
vector.py        a worker's slot: its file, its lock, its mapping
takeover.py      what is done with what a dead worker left
cells.py         what stands for cells that are in no file yet
private.py       what this process recorded and no file has
tally.py         what goes up and down by one
upkeep.py        files that are not taken for forgotten ones
snapshot.py      all vectors at one moment
store.py         the store itself
forking.py       what a forked child forgets
ending.py        what is written down at the end of a process

Where there is no `flock`, importing this package raises ImportError.
"""

from prom_middleware.stores.multiprocess.store import MultiprocessStore

__all__ = ["MultiprocessStore"]
