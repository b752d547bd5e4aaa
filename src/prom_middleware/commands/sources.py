"""Where a command's metrics come from: a module's registry, a URL, or the standard input."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from http.client import HTTPException
from importlib import import_module
from inspect import signature
from operator import attrgetter
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from prom_middleware.commands import CommandError, streams
from prom_middleware.exposition.negotiation import negotiate

SOURCES = (
    "module:registry, where the part after the colon is a registry, a collector or a function that "
    "returns one (without it, or with an application: what is in the default registry then)"
)
MOST_BYTES = 1 << 30
ACCEPT = "text/plain;version=0.0.4"


def load(source: str) -> Any:
    """Import what `module:name` names, from the working directory as well.

    Without a name it is the default registry, with what the module puts into it.
    """
    module_name, colon, attribute = source.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = import_module(module_name)
        return attrgetter(attribute)(module) if colon else REGISTRY
    except Exception as error:
        raise CommandError(f"{source}: {type(error).__name__}: {error}") from error


def load_registry(source: str) -> Collector:
    """Return the registry or collector that `module:registry` names, or a function returns."""
    found = load(source)
    if not hasattr(found, "collect") and callable(found):
        try:
            found = REGISTRY if _is_application(found) else found()
        except Exception as error:
            raise CommandError(f"{source}: {type(error).__name__}: {error}") from error
    if not hasattr(found, "collect"):
        raise CommandError(f"{source}: {found!r} is neither a registry nor a collector")
    return found  # type: ignore[no-any-return]


def _is_application(found: Callable[..., Any]) -> bool:
    """Tell whether what can be called wants arguments, as every application does."""
    try:
        signature(found).bind()
    except TypeError:
        return True
    return False


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
        return [_checked(source, fetched(source, timeout)[0])]
    content = b"".join(rendered(source, load_registry(source)))
    return [_checked(source, content) if content else content]


def rendered(source: str, registry: Collector) -> Iterable[bytes]:
    """Return a registry's metrics in the text format. Raises CommandError."""
    try:
        return negotiate(ACCEPT).render(list(registry.collect()))
    except Exception as error:
        raise CommandError(f"{source}: {type(error).__name__}: {error}") from error


def fetched(url: str, timeout: float, accept: str = ACCEPT) -> tuple[bytes, str]:
    """Return the body of a page and its Content-Type; `timeout` is in seconds.

    Raises CommandError.
    """
    headers = {"Accept": accept, "User-Agent": "prom-middleware"}
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http or https
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            body: bytes = response.read(MOST_BYTES)
            content_type: str = response.headers.get("Content-Type", "")
    except (OSError, ValueError, HTTPException) as error:  # URLError is an OSError
        raise CommandError(f"{url}: {error}") from error
    return body, content_type


def _checked(source: str, content: bytes) -> bytes:
    """Return the text as it is, but for the last line's end.

    It is not written anew: a reader's view of it would change names and lose comments.
    """
    from prom_middleware.commands.checking import problem

    found = problem(content)
    if found:
        raise CommandError(f"{source}: {found}")
    return content if content.endswith(b"\n") or not content else content + b"\n"
