"""A program that has a granian of its own: it forks workers when the application is there."""

from __future__ import annotations

import sys

from granian import Granian
from granian.constants import Interfaces

from multiprocess_servers.pool_app import app

__all__ = ["app"]

if __name__ == "__main__":
    target = "multiprocess_servers.pool_app:app"
    Granian(target, port=int(sys.argv[1]), interface=Interfaces.WSGI, workers=2).serve()
