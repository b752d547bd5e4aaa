"""What the tests of the doctor share."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from prom_middleware import basic_auth


@pytest.fixture
def options() -> dict[str, Any]:
    """Return a healthy door's options."""
    return {"registry": CollectorRegistry(), "access": basic_auth("prometheus", "secret")}
