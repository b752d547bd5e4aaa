"""Django is configured once per process; each test overrides what it needs."""

from __future__ import annotations

import pytest

collect_ignore_glob: list[str] = []

try:
    import django
    from django.conf import settings
except ImportError:
    collect_ignore_glob.append("test_*.py")
else:
    if not settings.configured:
        from django_door.settings import PROCESS, PROJECT

        settings.configure(**PROCESS, **PROJECT)
    django.setup()


@pytest.fixture(autouse=True)
def _untranslated():  # type: ignore[no-untyped-def]
    """Leave no language active that a request has chosen."""
    from django.utils import translation

    yield
    translation.deactivate_all()
