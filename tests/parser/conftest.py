"""No test of parsers is decided by the time that it takes."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("parsers", deadline=None)
settings.load_profile("parsers")
