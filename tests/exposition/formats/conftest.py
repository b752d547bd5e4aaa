"""No test of formats is decided by the time that it takes."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("formats", deadline=None)
settings.load_profile("formats")
