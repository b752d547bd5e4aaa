"""The servers with several processes: how each is started, and how much it has to bear."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from servers.support import python

# SIGKILLs, over all servers that are installed with this project's tests (uWSGI is not).
KILLS = int(os.environ.get("PROM_MIDDLEWARE_KILLS", "1000"))
WORKERS = 4


@dataclass(frozen=True)
class Kind:
    """A server. Workers of the ones that `fork` are there at once, of all others after a second."""

    command: tuple[str, ...]
    app: str
    share: int  # of a thousand kills
    private: bool = False
    # One that does not outlive its workers' deaths is started again, on the same directory.
    mortal: bool = False
    program: str = ""

    @property
    def kills(self) -> int:
        """Return how many workers of this server are to be killed."""
        return max(1, self.share * KILLS // 1000)

    def arguments(self, port: int) -> list[str]:
        """Return the whole command."""
        parts = [part.format(port=port, prefix=sys.prefix) for part in (*self.command, self.app)]
        return [_program(self.program), *parts] if self.program else python(*parts)


def _program(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    return found or pytest.skip(f"{name} is missing: pip install {name} (it needs a C compiler)")


ADDRESS, COUNT = "127.0.0.1:{port}", str(WORKERS)
WSGI, ASGI = "wsgi_app:app", "asgi_app:app"
_GUNICORN = ("-m", "gunicorn", "--bind", ADDRESS, "--workers", COUNT, "--log-level", "critical")
SYNC = (*_GUNICORN, "--worker-class", "sync")
GTHREAD = (*_GUNICORN, "--worker-class", "gthread", "--threads", "4")
UVICORN_WORKER = (*_GUNICORN, "--worker-class", "uvicorn_worker.UvicornWorker")
UVICORN = ("-m", "uvicorn", "--port", "{port}", "--workers", COUNT, "--log-level", "critical")
HYPERCORN = ("-m", "hypercorn", "--bind", ADDRESS, "--workers", COUNT)
GRANIAN = (
    *("-m", "granian", "--interface", "asgi", "--port", "{port}", "--workers", COUNT),
    *("--respawn-failed-workers", "--respawn-interval", "0.1", "--log-level", "critical"),
)
UWSGI = (
    *("--http-socket", ADDRESS, "--master", "--processes", COUNT, "--die-on-term"),
    *("--virtualenv", "{prefix}", "--need-app", "--disable-logging", "--module"),
)

KINDS = {
    "gunicorn-sync": Kind(SYNC, WSGI, 25, private=True),
    "gunicorn-sync-preload": Kind((*SYNC, "--preload"), WSGI, 400),
    "gunicorn-sync-max-requests": Kind((*SYNC, "--preload", "--max-requests", "50"), WSGI, 125),
    "gunicorn-gthread": Kind(GTHREAD, WSGI, 25),
    "gunicorn-gthread-preload": Kind((*GTHREAD, "--preload"), WSGI, 322, private=True),
    "gunicorn-uvicorn": Kind(UVICORN_WORKER, ASGI, 10, private=True),
    "gunicorn-uvicorn-preload": Kind((*UVICORN_WORKER, "--preload"), ASGI, 80),
    "uvicorn": Kind(UVICORN, ASGI, 8, private=True),
    "hypercorn": Kind(HYPERCORN, ASGI, 2, mortal=True),
    "granian": Kind(GRANIAN, ASGI, 3, mortal=True),
    "uwsgi": Kind(UWSGI, WSGI, 10, private=True, program="uwsgi"),
}
