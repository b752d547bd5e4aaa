"""A program that has a gunicorn of its own: it forks workers when the application is there."""

from __future__ import annotations

import sys
from typing import Any

from gunicorn.app.base import BaseApplication

from multiprocess_servers.pool_app import app


class Program(BaseApplication):  # type: ignore[misc]
    """Serve `app` with two workers."""

    def load_config(self) -> None:
        """Take the port from the command line."""
        self.cfg.set("bind", f"127.0.0.1:{sys.argv[1]}")
        self.cfg.set("workers", 2)

    def load(self) -> Any:
        """Return what is there already."""
        return app


if __name__ == "__main__":
    Program().run()
