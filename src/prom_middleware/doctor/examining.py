"""All checks, on one application."""

from __future__ import annotations

import os
from typing import Any

from prom_middleware.doctor import checks, processes
from prom_middleware.doctor.findings import Finding
from prom_middleware.doctor.processes import Deployment
from prom_middleware.doctor.subjects import Subject, subject_of, subject_of_project


def examine(app: Any, deployment: Deployment | None = None) -> list[Finding]:
    """Return what is wrong with the installation around `app`, served as `deployment` says.

    Without one, the environment of this process says how. The middleware of `app` is built, and
    no request is made.
    """
    return _examined(subject_of(app), deployment or Deployment.of(os.environ))


def examine_project() -> list[Finding]:
    """Return what is wrong with the Django project of this process."""
    return _examined(subject_of_project(), Deployment.of(os.environ))


def _examined(subject: Subject, deployment: Deployment) -> list[Finding]:
    found = [finding for check in checks.CHECKS for finding in check(subject)]
    return found + [one for check in processes.CHECKS for one in check(deployment)]
