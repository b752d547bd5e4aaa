"""All checks, on one application."""

from __future__ import annotations

import os
from typing import Any

from prom_middleware.doctor import checks, processes
from prom_middleware.doctor.findings import Finding
from prom_middleware.doctor.processes import Deployment
from prom_middleware.doctor.subjects import subject_of


def examine(app: Any, deployment: Deployment | None = None) -> list[Finding]:
    """Return what is wrong with the installation around `app`, served as `deployment` says.

    Without one, the environment of this process says how. The middleware of `app` is built, and
    no request is made.
    """
    deployment = deployment or Deployment.of(os.environ)
    subject = subject_of(app)
    found = [finding for check in checks.CHECKS for finding in check(subject)]
    return found + [one for check in processes.CHECKS for one in check(deployment)]
