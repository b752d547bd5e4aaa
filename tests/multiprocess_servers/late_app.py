"""A WSGI application that the first request makes, inside whatever the server runs requests in."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any


@cache
def made() -> Any:
    from pool_app import app

    return app


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    body: Iterable[bytes] = made()(environ, start_response)
    return body
