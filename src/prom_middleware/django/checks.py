"""What `python -m prom_middleware doctor` finds, as system checks of Django.

https://docs.djangoproject.com/en/stable/topics/checks/
"""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register  # noqa: A004 - Django's

from prom_middleware import failures
from prom_middleware.doctor.findings import NAMES

# By what SILENCED_SYSTEM_CHECKS knows them; a number never changes its meaning.
IDS = {name: f"prom_middleware.W{number:03}" for number, name in enumerate(NAMES, 1)}
# An open /metrics is right on the machine of who writes the program, as DEBUG is.
DEPLOYED = frozenset(("open-metrics",))


def register_checks() -> None:
    """Have `manage.py check` say it; `--deploy` more, as of Django's own settings."""
    register(installed)
    register(deployed, Tags.security, deploy=True)


def installed(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """Return a warning for each finding that is one everywhere."""
    return [one for name, one in _examined() if name not in DEPLOYED]


def deployed(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """Return a warning for each finding that matters where strangers come."""
    return [one for name, one in _examined() if name in DEPLOYED]


def _examined() -> list[tuple[str, CheckMessage]]:
    """Return what the doctor finds; a check of ours that fails stops no command."""
    try:
        from prom_middleware.doctor import examine_project  # who runs no checks need not wait

        return [
            (one.check, Warning(one.problem, hint=one.remedy, id=IDS[one.check]))
            for one in examine_project()
        ]
    except Exception as error:
        failures.report("doctor", error)
        return []
