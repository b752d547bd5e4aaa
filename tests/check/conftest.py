"""No test of checks is decided by the time that it takes."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("checks", deadline=None)
settings.load_profile("checks")
