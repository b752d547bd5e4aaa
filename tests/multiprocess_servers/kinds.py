"""The servers with several processes: how each is started, and how much it has to bear."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from servers.support import python

# SIGKILLs, over all servers.
KILLS = int(os.environ.get("PROM_MIDDLEWARE_KILLS", "1000"))
WORKERS = 4


@dataclass(frozen=True)
class Kind:
    """A server, and the application that it serves."""

    command: tuple[str, ...]
    share: int  # of a thousand kills
    private: bool = False
    # One that does not outlive its workers' deaths is started again, on the same directory.
    mortal: bool = False
    # One that gives up when a worker dies soon after it was started; else any may be the next.
    oldest_first: bool = False
    program: str = ""

    @property
    def kills(self) -> int:
        """Return how many workers of this server are to be killed."""
        return max(1, self.share * KILLS // 1000)

    def arguments(self, port: int) -> list[str]:
        """Return the whole command."""
        parts = [part.format(port=port, prefix=sys.prefix) for part in self.command]
        return [beside_python(self.program), *parts] if self.program else python(*parts)


def beside_python(program: str) -> str:
    """Return the path of a program that is installed with this project's tests."""
    return str(Path(sys.executable).with_name(program))


ADDRESS, COUNT = "127.0.0.1:{port}", str(WORKERS)
WSGI, ASGI, DJANGO = "wsgi_app:app", "asgi_app:app", "django_app:app"
# Not its 30 seconds: on a busy machine, it would kill workers that no test wants dead.
_PATIENT = ("--timeout", "300", "--log-level", "critical")
_GUNICORN = ("-m", "gunicorn", "--bind", ADDRESS, "--workers", COUNT, *_PATIENT)
# Its control socket's thread is there as well, which `gunicorn.conf.py` does without.
_PRELOAD = ("--preload", "--config", os.devnull)
SYNC = (*_GUNICORN, "--worker-class", "sync", WSGI)
GTHREAD = (*_GUNICORN, "--worker-class", "gthread", "--threads", "4", WSGI)
UVICORN_WORKER = (*_GUNICORN, "--worker-class", "uvicorn_worker.UvicornWorker")
UVICORN = ("-m", "uvicorn", "--port", "{port}", "--workers", COUNT, "--log-level", "critical", ASGI)
HYPERCORN = ("-m", "hypercorn", "--bind", ADDRESS, "--workers", COUNT, ASGI)
GRANIAN = (
    *("-m", "granian", "--interface", "asgi", "--port", "{port}", "--workers", COUNT),
    *("--respawn-failed-workers", "--respawn-interval", "0.1", "--log-level", "critical"),
    # A worker that is being started does not heed that it shall end.
    *("--workers-kill-timeout", "2", ASGI),
)
UWSGI = (
    *("--http-socket", ADDRESS, "--master", "--processes", COUNT, "--die-on-term"),
    *("--virtualenv", "{prefix}", "--need-app", "--disable-logging", "--module", WSGI),
)
TWISTED = ("twisted_fleet.py", "{port}", COUNT)

KINDS = {
    "gunicorn-sync": Kind(SYNC, 10, private=True),
    "gunicorn-sync-preload": Kind((*SYNC, *_PRELOAD), 440),
    "gunicorn-sync-max-requests": Kind((*SYNC, *_PRELOAD, "--max-requests", "50"), 125),
    "gunicorn-gthread": Kind(GTHREAD, 10),
    "gunicorn-gthread-preload": Kind((*GTHREAD, *_PRELOAD), 337, private=True),
    "gunicorn-uvicorn": Kind((*UVICORN_WORKER, ASGI), 10, private=True),
    "gunicorn-uvicorn-preload": Kind((*UVICORN_WORKER, "--preload", ASGI), 20),
    "gunicorn-uvicorn-django": Kind((*UVICORN_WORKER, "--preload", DJANGO), 15, private=True),
    "uvicorn": Kind(UVICORN, 6, private=True),
    "hypercorn": Kind(HYPERCORN, 2, mortal=True),
    "granian": Kind(GRANIAN, 3, mortal=True),
    "granian-private": Kind(GRANIAN, 8, private=True, oldest_first=True),
    "uwsgi": Kind(UWSGI, 6, private=True, program="uwsgi"),
    "twisted": Kind(TWISTED, 8),
}
