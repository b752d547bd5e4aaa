"""What is pushed: a registry in the text format 0.0.4, which every gateway reads."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from importlib import import_module
from typing import Any

from prometheus_client.registry import Collector

from prom_middleware.errors import MissingFrameworkError
from prom_middleware.exposition.negotiation import negotiate

FORM = negotiate("text/plain;version=0.0.4")
CONTENT_TYPE = FORM.content_type


def rendered(registry: Collector) -> bytes:
    """Return the metrics of `registry`; raise what a collector raises: a part is no push."""
    return b"".join(FORM.render(registry.collect()))


def _snappy(body: bytes) -> bytes:
    """Return the framed format, which gateways read, not the raw one."""
    try:
        snappy: Any = import_module("cramjam").snappy
    except ImportError as error:
        raise MissingFrameworkError(
            'compression="snappy" needs a package: pip install "prom_middleware[snappy]"'
        ) from error
    return bytes(snappy.compress(body))


def compressed(body: bytes, coding: str) -> bytes:
    """Return `body` in a content coding of `CODINGS`."""
    return CODINGS[coding](body)


CODINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "snappy": _snappy}
