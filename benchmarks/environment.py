"""Where the figures come from: the machine, and the versions of every package."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "prom_middleware",
    "prometheus_client",
    "starlette",
    "fastapi",
    "flask",
    "django",
    "twisted",
    "uvicorn",
    "prometheus-fastapi-instrumentator",
    "starlette-exporter",
    "aioprometheus",
    "prometheus-flask-exporter",
    "django-prometheus",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-asgi",
    "opentelemetry-instrumentation-fastapi",
    "opentelemetry-instrumentation-wsgi",
    "opentelemetry-instrumentation-flask",
    "opentelemetry-instrumentation-django",
)


def machine() -> str:
    """Return the model of the processor and what runs on it."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()}"


def python() -> str:
    """Return the interpreter's name and version."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def load() -> str:
    """Return the load average: what else the machine does shows in the figures."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def versions() -> dict[str, str]:
    """Return the version of each package."""
    return {package: _version(package) for package in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
