"""What a user's type checker knows of `instrument`; read by `make lint`, and run by nobody."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.core.handlers.asgi import ASGIHandler
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette

from prom_middleware import instrument

if TYPE_CHECKING:
    from typing_extensions import assert_type


def hello(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return [b"Hello World"]


def fastapi_app() -> FastAPI:
    return instrument(FastAPI(), metrics_path=None)


def flask_app() -> Flask:
    return instrument(Flask(__name__))


def starlette_app() -> Starlette:
    return instrument(Starlette())


# A handler in the middleware around it: what it is called as is the same, what it has is not.
def handler() -> ASGIHandler:
    return instrument(ASGIHandler())


class Root:
    """As one of Twisted's resources, which comes back as a Site."""

    def getChildWithDefault(self, path: bytes, request: object) -> object:
        return self


if TYPE_CHECKING:
    assert_type(instrument(Root()), Any)
    assert_type([*instrument(hello)({}, print)], list[bytes])
