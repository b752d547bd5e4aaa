"""Users' own metrics of `prometheus_client`, in the store that all workers share.

kinds.py        which metrics can lie in a store; shapes.py: how
values.py       where a metric keeps its number; on the way of users' requests
notes.py        text in cells: exemplars, infos
removals.py     removing series in all workers
announcing.py   how they come to know of it
view.py         what all workers have, less what was removed
gauges.py       what gauges of several processes are together
collecting.py   from there to metric families
adoption.py     how a metric comes to have its numbers in the store
locks.py        which lock it is made with
showing.py      which registries a door, an endpoint or a bridge shows
inherited.py    what they had counted when the process was forked
existing.py     metrics that were made before
patches.py      what is replaced in `prometheus_client`, all of it
files.py        without `install()`: the files that `prometheus_client` writes
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prom_middleware.lazy import lazily

if TYPE_CHECKING:
    from prom_middleware.multiprocess.files import whole
    from prom_middleware.multiprocess.patches import install, uninstall

__all__ = ["install", "uninstall", "whole"]

# To read the files of `prometheus_client` takes nothing of what `install` needs.
_HOMES = {
    "install": "prom_middleware.multiprocess.patches",
    "uninstall": "prom_middleware.multiprocess.patches",
    "whole": "prom_middleware.multiprocess.files",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
