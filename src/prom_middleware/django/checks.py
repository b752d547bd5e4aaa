"""What `python -m prom_middleware doctor` finds, as system checks of Django.

https://docs.djangoproject.com/en/stable/topics/checks/
"""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Warning  # noqa: A004 - Django's name

from prom_middleware import failures

# By what SILENCED_SYSTEM_CHECKS knows them; a number never changes its meaning.
IDS = {
    "no-door": "prom_middleware.W001",
    "two-doors": "prom_middleware.W002",
    "order": "prom_middleware.W003",
    "open-metrics": "prom_middleware.W004",
    "telemetry": "prom_middleware.W005",
    "routes": "prom_middleware.W006",
    "labels": "prom_middleware.W007",
    "workers": "prom_middleware.W008",
    "early-metrics": "prom_middleware.W009",
}


def examined(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """Return a warning for each finding; a check of ours that fails stops no command."""
    try:
        from prom_middleware.doctor import examine_project  # who runs no checks need not wait

        return [
            Warning(one.problem, hint=one.remedy, id=IDS[one.check]) for one in examine_project()
        ]
    except Exception as error:
        failures.report("doctor", error)
        return []
