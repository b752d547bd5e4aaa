"""/metrics as a WSGI application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from prom_middleware.instrumentation import discard_observations, nesting

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from typing_extensions import Unpack

    from prom_middleware.exposition.access import AccessRule, ScrapeRequest
    from prom_middleware.exposition.options import Limits, ScrapeOptions


def make_wsgi_app(
    registry: Collector = REGISTRY,
    disable_compression: bool = False,
    *,
    access: AccessRule | None = None,
    **options: Unpack[ScrapeOptions],
) -> WSGIApplication:
    """Return a WSGI application that answers every path with the metrics of `registry`.

    The options are those of `prom_middleware.exposition.ScrapeOptions`. Raises OptionError for
    wrong ones.
    """
    nesting.expect_inner_doors()
    # Imported by the first endpoint that is made, not by the import of a door.
    from prom_middleware.exposition.endpoint import endpoint

    rule, limits = endpoint(registry, access, options, disable_compression)
    return MetricsApp(registry, rule, limits)


class MetricsApp:
    """What `make_wsgi_app` returns."""

    def __init__(
        self, registry: Collector, access: AccessRule | None, limits: Limits | None = None
    ) -> None:
        # Neither by who imports a door, nor by the first scrape: a process that is forked meanwhile
        # would wait for the import for ever, and without a free descriptor there is none.
        from prom_middleware.exposition.scraping import answer

        self._answer = answer
        self._registry = registry
        self.access = access
        self._limits = limits

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a scrape."""
        translate = partial(scrape_request, environ)
        response = self._answer(self._registry, translate, self.access, self._limits)
        phrase = HTTPStatus(response.status).phrase
        start_response(f"{response.status} {phrase}", response.headers)
        return response.parts or [b""]


def scrape_request(environ: Mapping[str, Any]) -> ScrapeRequest:
    """Translate a WSGI environ (PEP 3333)."""
    from prom_middleware.exposition.access import ScrapeRequest

    discard_observations(environ)
    nesting.discard(environ["REQUEST_METHOD"], paths_of(environ))
    return ScrapeRequest(
        method=environ["REQUEST_METHOD"],
        path=path_of(environ),
        query=environ.get("QUERY_STRING", ""),
        headers=headers(environ),
        client=environ.get("REMOTE_ADDR") or None,  # gunicorn on a Unix socket says ""
        mount=script_name(environ),
    )


def path_of(environ: Mapping[str, Any]) -> str:
    """Return the path below the application's root."""
    return decoded(environ.get("PATH_INFO", ""))


def script_name(environ: Mapping[str, Any]) -> str:
    """Return the application's root."""
    return decoded(environ.get("SCRIPT_NAME", ""))


def paths_of(environ: Mapping[str, Any]) -> list[str]:
    """Return what the path of a request may be in a door further out."""
    root, path = script_name(environ), path_of(environ)
    paths = [path, root + path]
    if path == "/":  # Django writes that in the place of nothing
        paths.append(root)
    if not paths[1].isascii():  # others leave a mark in the place of bytes that are no text
        paths += [one.encode("latin-1", "replace").decode("utf-8", "replace") for one in paths]
    return paths


def decoded(native: str) -> str:
    """Return a path of the environ as text.

    PEP 3333, "Unicode Issues": it has the bytes of the path, each as one character. But Django puts
    the text in their place, and a client may send what is no text.
    """
    try:
        return native if native.isascii() else native.encode("latin-1").decode()
    except UnicodeError:
        return native


def undecoded(path: str) -> str:
    """Return a path as the environ has it."""
    return path.encode("utf-8", "replace").decode("latin-1")


def headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return the request's headers, names in lower case."""
    found = {
        key[5:].replace("_", "-").lower(): value
        for key, value in environ.items()
        if key.startswith("HTTP_")
    }
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            found[key.replace("_", "-").lower()] = environ[key]
    return found
