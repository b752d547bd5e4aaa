"""Keeping files young: systems remove what has been in /tmp for days and was not touched.

What is mapped, locked or only looked at counts as untouched (tmpfiles.d(5), "Age").
"""

from __future__ import annotations

import os
from contextlib import suppress
from time import time

from prom_middleware.stores.multiprocess.layout import NAMES

OFTEN = 3600.0


def keep_young(directory: str, touched: float) -> None:
    """Touch all files in `directory`, and itself, if that was more than an hour ago.

    `touched` is when it was, in Unix seconds. What cannot be touched is left as it is.
    """
    # A clock that was set back: the files may be older than they say.
    if 0 <= time() - touched < OFTEN:
        return
    with suppress(OSError):
        for name in os.listdir(directory):
            if name.startswith(NAMES):
                _touch(os.path.join(directory, name))
        _touch(directory)


def _touch(path: str) -> None:
    # Another user's, or gone by now; without `follow_symlinks`, some systems cannot do it.
    with suppress(OSError, NotImplementedError):
        os.utime(path, follow_symlinks=False)
