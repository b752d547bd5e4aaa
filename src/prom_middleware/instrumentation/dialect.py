"""What a door says of its framework's requests; a type only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Dialect(Protocol):
    """How a door reads the requests of its framework."""

    def route(self, request: Any) -> str | None:
        """Return the template that matched, or None."""
        ...

    def path(self, observation: Any) -> str:
        """Return the path below the server's own root path.

        As it came to the door, but for ASGI, whose scope is read at the end of the request.
        """
        ...

    def headers(self, request: Any) -> Mapping[str, str]:
        """Return the request's headers, names in lower case."""
        ...
