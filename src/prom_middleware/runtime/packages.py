"""Versions of what is loaded: of the packages below, and of no other."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version

# What serves the application and what measures it, by the module that is loaded.
PACKAGES = {
    "prom_middleware": "prom_middleware",
    "prometheus_client": "prometheus_client",
    "starlette": "starlette",
    "fastapi": "fastapi",
    "flask": "flask",
    "werkzeug": "werkzeug",
    "django": "django",
    "twisted": "twisted",
    "klein": "klein",
    "uvicorn": "uvicorn",
    "hypercorn": "hypercorn",
    "granian": "granian",
    "daphne": "daphne",
    "gunicorn": "gunicorn",
    "waitress": "waitress",
    "uwsgi": "uwsgi",
    "uvloop": "uvloop",
    "gevent": "gevent",
    "opentelemetry.trace": "opentelemetry-api",
}


def loaded() -> dict[str, str]:
    """Return the versions of the packages that are loaded, by name."""
    found = {name: _version(name) for module, name in PACKAGES.items() if module in sys.modules}
    return {name: version for name, version in found.items() if version}


@cache
def _version(name: str) -> str:
    if name == "uwsgi":  # a module that the server makes, whoever has installed it
        told = getattr(sys.modules["uwsgi"], "version", b"")
        return told.decode(errors="replace") if isinstance(told, bytes) else str(told)
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
