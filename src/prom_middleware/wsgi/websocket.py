"""Websockets over WSGI: the application takes the socket from the server, past every door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# RFC 6455 section 4.1: no handshake is without it, and nearly nothing else has it.
WEBSOCKET_KEY = "HTTP_SEC_WEBSOCKET_KEY"


def is_handshake(environ: Mapping[str, Any]) -> bool:
    """Tell whether a request that has the key asks for a websocket."""
    return "websocket" in environ.get("HTTP_UPGRADE", "").lower()
