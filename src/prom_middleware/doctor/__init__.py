"""What is wrong with an installation, and how each of it is mended.

examining.py    all checks, on one application
findings.py     what is found
subjects.py     an application as the checks see it: its layers, its doors, its routes
frameworks.py   where each framework keeps its layers and its routes
guards.py       what keeps strangers out
pages.py        pages of metrics among the routes, and who may read them
telemetry.py    other instrumentation that counts the same requests
processes.py    several workers, and metrics that are those of one alone
checks.py       the table of checks on what an application is made of
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prom_middleware.lazy import lazily

if TYPE_CHECKING:
    from prom_middleware.doctor.examining import examine, examine_project
    from prom_middleware.doctor.findings import Finding
    from prom_middleware.doctor.processes import Deployment

__all__ = ["Deployment", "Finding", "examine", "examine_project"]

# The command imports the application first, and prometheus_client after it, as a server does.
_HOMES = {
    "Deployment": "prom_middleware.doctor.processes",
    "Finding": "prom_middleware.doctor.findings",
    "examine": "prom_middleware.doctor.examining",
    "examine_project": "prom_middleware.doctor.examining",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
