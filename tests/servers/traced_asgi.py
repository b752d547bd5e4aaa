"""An ASGI application with exemplars, native histograms and names in UTF-8, for scrapers."""

from __future__ import annotations

import asyncio
import contextlib
import os

from prometheus_client import Gauge
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from prom_middleware import instrument


async def work(request: Request) -> Response:
    await asyncio.sleep(float(request.path_params["seconds"]))
    return PlainTextResponse(str(os.getpid()))


# The oldest versions of prometheus_client take no such names.
with contextlib.suppress(ValueError):
    Gauge("shop.größe", "A name in UTF-8.", ["waren.gruppe"]).labels("Äpfel").set(42)

app = instrument(Starlette(routes=[Route("/work/{seconds}", work)]), native_histograms=True)
