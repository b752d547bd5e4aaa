"""One reactor for the session; it is stopped at its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("twisted.web", reason="Twisted is not installed")


@pytest.fixture(scope="session", autouse=True)
def reactor() -> Iterator[None]:
    from twisted_door.reactor import start, stop

    thread = start()
    yield
    stop(thread)
