"""Where a command's metrics come from: a module's registry, a URL, or the standard input."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException, HTTPResponse, IncompleteRead
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from prom_middleware.applications import is_application
from prom_middleware.commands import CommandError, modules, streams, told
from prom_middleware.exposition.negotiation import negotiate
from prom_middleware.logins import basic, login_of, said, shown
from prom_middleware.options import collects

SOURCES = (
    "module:registry, where the part after the colon is a registry, a collector or a function that "
    "returns one (without it, or with an application: what is in the default registry then)"
)
MOST_BYTES = 1 << 30
PIECE = 1 << 16
ACCEPT = "text/plain;version=0.0.4"


def load(source: str) -> Any:
    """Return what `module:name` names: without a name the default registry, once it is imported.

    Raises CommandError.
    """
    return modules.load(source, lambda module: REGISTRY)


def load_registry(source: str) -> Collector:
    """Return the registry or collector that is named, or the default one for an application.

    Raises CommandError.
    """
    found = load(source)
    if collects(found):
        return found  # type: ignore[no-any-return]
    if is_application(found):
        return REGISTRY
    raise CommandError(f"{source}: {found!r} is neither a registry nor a collector")


def is_url(source: str) -> bool:
    """Tell whether a source is a URL."""
    return source.startswith(("http://", "https://"))


def content_of(source: str, timeout: float) -> Iterable[bytes]:
    """Return the text of a source: `-`, a URL or a module; `timeout` is in seconds.

    Raises CommandError for what cannot be read, and for what node_exporter would refuse.
    """
    if source == "-":
        return [_checked("standard input", streams.read())]
    if is_url(source):
        return [_checked(shown(source), fetched(source, timeout)[0])]
    content = b"".join(rendered(source, load_registry(source)))
    return [_checked(source, content) if content else content]


def rendered(source: str, registry: Collector) -> Iterable[bytes]:
    """Return a registry's metrics in the text format. Raises CommandError."""
    with told(source):
        return negotiate(ACCEPT).render(list(registry.collect()))


def fetched(url: str, timeout: float, accept: str = ACCEPT) -> tuple[bytes, str]:
    """Return the whole body of a page and its Content-Type; `timeout` is in seconds.

    A name and a password before the host are sent as RFC 7617 has it. Raises CommandError, also for
    a body that is cut off, or takes longer.
    """
    try:
        login, _ = login_of(parts := urlsplit(url)), parts.port
    except ValueError as error:
        raise CommandError(said(url, error)) from None
    deadline, address = monotonic() + timeout, shown(url)
    headers = {"Accept": accept, "User-Agent": "prom-middleware"}
    try:
        request = urllib.request.Request(address, headers=headers)  # noqa: S310 - http or https
        if login is not None:  # not for whom we are sent to
            request.add_unredirected_header("Authorization", basic(login))
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            return _body(response, deadline), response.headers.get("Content-Type", "")
    except (OSError, ValueError, HTTPException) as error:  # URLError is an OSError
        raise CommandError(f"{address}: {error}") from error


def _body(response: HTTPResponse, deadline: float) -> bytes:
    body = bytearray()
    while piece := response.read1(PIECE):
        body += piece
        if len(body) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES:,} bytes")
        if monotonic() > deadline:
            raise TimeoutError("timed out")
    if response.length:  # it tells by itself of pieces that are missing in chunks alone
        raise IncompleteRead(bytes(body), response.length)
    return bytes(body)


def _checked(source: str, content: bytes) -> bytes:
    """Return the text as it is, but for the last line's end.

    It is not written anew: a reader's view of it would change names and lose comments.
    """
    from prom_middleware.commands.checking import problem

    found = problem(content)
    if found:
        raise CommandError(f"{source}: {found}")
    return streams.ended(content)
