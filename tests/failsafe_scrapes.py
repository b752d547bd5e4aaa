"""What an answer can be made of: every form and selection, and numbers that processes share."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import partial
from itertools import count
from typing import Any
from unittest.mock import patch
from weakref import finalize

from prometheus_client import CollectorRegistry, Enum, Gauge, Histogram, Info, Summary

from failsafe_apps import (
    REQUESTS,
    TRACEPARENT,
    Request,
    asgi_app,
    asgi_client,
    wsgi_app,
    wsgi_client,
)
from failsafe_doors import Client, Place
from prom_middleware.asgi import PrometheusMiddleware
from prom_middleware.stores import shared
from prom_middleware.wsgi import PrometheusMiddleware as WSGIDoor
from stores.multiprocess.children import IN_MEMORY

Options = Mapping[str, Any]
_BUILDS = count()
NATIVE = {"native_histograms": True}
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding="
ACCEPTED = {
    "openmetrics": "application/openmetrics-text;version=1.0.0",
    "composite": "application/openmetrics-text;version=2.0.0",
    "escaped": "application/openmetrics-text;version=1.0.0;escaping=values",
    "delimited": f"{PROTOBUF}delimited",
    "readable": f"{PROTOBUF}text",
}
SELECTED = {
    "named": "name[]=mine_total&name[]=http_requests_total",
    "equal": "match[]=http_requests_total",
    "matched": "match[]=%7B__name__%3D~%22(mine|http).%2B%22,method!%3D%22PUT%22%7D",
}
BY_HEADERS = {name: ((b"accept", accepted.encode()),) for name, accepted in ACCEPTED.items()} | {
    "compressed": ((b"accept-encoding", b"gzip"),)
}


def forms(options: Options, doors: int) -> Client:
    """Return one that has metrics of every kind to show, and exemplars.

    WSGI's door, which answers in the thread that asks, and rests for no event loop meanwhile.
    """
    _fill(options["registry"])
    app = WSGIDoor(wsgi_app, **options)
    wsgi_client(app, Request(headers=((b"traceparent", TRACEPARENT),)))
    return partial(wsgi_client, app)


def _fill(registry: CollectorRegistry) -> None:
    Gauge("level", "A level.", ["tank"], registry=registry).labels('a\n"').set(1.5)
    Summary("size_bytes", "Sizes.", registry=registry).observe(2)
    Histogram("wait_seconds", "Waits.", registry=registry).observe(0.3, {"trace_id": "1"})
    Info("build", "A build.", registry=registry).info({"version": "1"})
    Enum("state", "A state.", states=["on", "off"], registry=registry).state("on")


def _scrapes(path: str, **options: Any) -> dict[str, Request]:
    made = partial(Request, path, options=options, scrape=True)
    return {f"scrape-{name}": made(query=query) for name, query in SELECTED.items()} | {
        f"scrape-{name}": made(headers=headers, query=SELECTED["matched"] if options else "")
        for name, headers in BY_HEADERS.items()
    }


FORMS = _scrapes("/metrics") | {
    f"{name}-native": Request("/metrics", options=NATIVE, scrape=True, headers=headers)
    for name, headers in BY_HEADERS.items()
}
FEDERATED = {
    name: request
    for name, request in _scrapes("/federate", metrics_path="/federate").items()
    if name != "scrape-named"
}


def shared_numbers(options: Options, doors: int) -> Client:
    """Return one whose numbers are in files, in a directory of its own."""
    if next(_BUILDS) % 16 == 0:
        gc.collect()  # each that has failed may be part of a cycle, and has files open
    directory = tempfile.mkdtemp(dir=IN_MEMORY)
    with patch.dict(os.environ, {shared.DIRECTORY: directory}):
        app = PrometheusMiddleware(asgi_app, **options)
    finalize(app, _remove, directory)
    return partial(asgi_client, app)


def _remove(directory: str) -> None:
    del shared._stores[directory]
    shutil.rmtree(directory)


SHARED = {name: REQUESTS[name] for name in ("plain", "labels", "traced", "stream", "error")} | {
    name: REQUESTS[name] for name in ("left", "websocket", "scrape-whole")
}
FILLED = {
    "forms": Place("wsgiref", forms, set(FORMS), FORMS),
    "federation": Place("wsgiref", forms, set(FEDERATED), FEDERATED),
    "shared": Place("asyncio", shared_numbers, set(SHARED), SHARED),
}
