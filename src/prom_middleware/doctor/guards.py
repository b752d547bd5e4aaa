"""What keeps strangers out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from prom_middleware.exposition.access import ScrapeRequest
from prom_middleware.exposition.guards import refusal

# What answers by itself, for a visitor that it does not know.
GUARDS = re.compile(r"auth|login|session|csrf|jwt|token|permission", re.IGNORECASE)
# Of these, what lets nobody in: many only look who it is, and leave the rest to the views.
REFUSES = re.compile(
    r"(login|auth)_?required|require_?(login|auth)|(basic|bearer|jwt|token|key)_?auth",
    re.IGNORECASE,
)
# Anybody: an address that nobody has (RFC 5737), without credentials.
STRANGER = ScrapeRequest("GET", "/metrics", "", {}, "203.0.113.7")


def is_open(access: Callable[[Any], object] | None) -> bool:
    """Tell whether a stranger may scrape."""
    return refusal(STRANGER, access) is None
