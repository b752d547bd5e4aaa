"""What a Django request and its URL resolver say, in the core's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from functools import lru_cache, partial
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import resolve
from django.urls.resolvers import LocalePrefixPattern, RoutePattern
from django.utils import translation

from prom_middleware import failures
from prom_middleware.errors import OptionError
from prom_middleware.exposition import ScrapeRequest
from prom_middleware.exposition.scraping import answer
from prom_middleware.exposition.wsgi import paths_of
from prom_middleware.instrumentation import (
    COMPLETE,
    DISCONNECT,
    KEY_PREFIX,
    Configuration,
    Observation,
    discard_observations,
    nesting,
)
from prom_middleware.instrumentation.config import as_taken
from prom_middleware.instrumentation.rare import content_length

# On a request: the observations of doors further out, by registry.
_OUTER = "_prom_middleware"
# Anchors at the ends of what re_path() says, flags before them, and none that is escaped. Those in
# between are part of what it matches; of a second pattern that it joins, Django drops the `^`.
_START = re.compile(r"\A((?:\(\?[a-zA-Z]+\))?)(?:\^|\\A)+")
_END = re.compile(r"(?<!\\)((?:\\\\)*)(?:\$|\\[Zz])+\Z")


def configured(**options: Any) -> dict[str, Any]:
    """Return what `settings.PROM_MIDDLEWARE` says, and `options`, which win."""
    given = getattr(settings, "PROM_MIDDLEWARE", {})
    if not isinstance(given, Mapping):
        raise OptionError(f"settings.PROM_MIDDLEWARE={given!r}: give a dictionary of options")
    return {**as_taken(given), **Configuration.from_options(options).options}


class Handled(Observation):
    """An observation of a request that a Django handler serves; `wsgi` tells which kind."""

    __slots__ = ("headers", "path", "wsgi")

    calls = True

    # Set by the middleware.
    path: str
    wsgi: bool
    headers: Any  # of a streaming response

    def drop_response(self) -> None:
        """Record the error page that comes in the place of a response, if there was one.

        Middleware further out has raised. Its traceback holds the response, and that holds us: to
        wait until it is gone would be to wait for the garbage collector.
        """
        if self.status is not None and not self.done:
            self.forget_start()
            self.finish()

    def promised_length(self) -> int | None:
        """Return how long the headers say a stream is; middleware further out may change them."""
        headers = getattr(self, "headers", {})
        return content_length(headers.get("Content-Length"))

    def end(self, whole: bool) -> None:
        """Record the end of a file."""
        self.finish(COMPLETE if whole else DISCONNECT)


class Dialect:
    """How the core reads a Django request."""

    def route(self, request: HttpRequest) -> str | None:
        """Return the template that the URL resolver chose, or would have chosen."""
        match = request.resolver_match or _unresolved(request)
        if match is None:
            return None
        # The resolver comes to what matches last.
        return template(match.route) or _anchored(match.route, *(match.tried or [()])[-1])

    def path(self, observation: Handled) -> str:
        """Return the path below the script name; middleware further in may rewrite it."""
        return observation.path

    def headers(self, request: HttpRequest) -> Mapping[str, str]:
        """Return the headers, names in lower case."""
        return {name.lower(): value for name, value in request.headers.items()}


def _unresolved(request: HttpRequest) -> Any:
    """Match a request that middleware answered; one that broke in middleware has no route."""
    if any(observation.error for observation in observations(request)):
        return None
    found = partial(resolve, request.path_info, getattr(request, "urlconf", None))
    language = _language(request)
    try:
        if translation.get_language() == language:
            return found()
        with translation.override(language):
            return found()
    except Exception:  # nothing matches; or a converter of the application's raises
        return None


def _language(request: HttpRequest) -> str:
    # As LocaleMiddleware set it, or would have: the thread's is that of the request before, maybe.
    chosen: str | None = getattr(request, "LANGUAGE_CODE", None)
    chosen = chosen or translation.get_language_from_path(request.path_info)
    return chosen or settings.LANGUAGE_CODE


@lru_cache(maxsize=4096)  # as many as a project has patterns, times its languages
def template(route: str) -> str | None:
    """Return the label for what `path()` and `re_path()` joined to a route.

    None where `route` does not tell: in a `path()`, anchors are characters as any other.
    """
    found = _unanchored(route, start=True, end=True)
    return found if found == _unanchored(route, start=False, end=False) else None


@lru_cache(maxsize=4096)  # by the patterns, too: others may join to the same text
def _anchored(route: str, *tried: Any) -> str:
    return _unanchored(route, start=not _literal(tried), end=not _literal(reversed(tried)))


def _unanchored(route: str, *, start: bool, end: bool) -> str:
    if "(?P<" in route:
        from django.contrib.admindocs.utils import replace_named_groups

        route = replace_named_groups(route)
    if start:
        route = _START.sub(r"\1", route)
    if end:
        route = _END.sub(r"\1", route)
    return "/" + route.removeprefix("/")


def _literal(patterns: Iterable[Any]) -> bool:
    """Tell whether a `path()` is the first of `patterns` that says anything."""
    for one in patterns:
        pattern = one.pattern
        # The prefix of a language is no anchor, and may have been another one in the request.
        if not isinstance(pattern, LocalePrefixPattern) and str(pattern):
            return isinstance(pattern, RoutePattern)
    return False


def server_request(request: HttpRequest) -> MutableMapping[str, Any]:
    """Return the WSGI environ or the ASGI scope below `request`."""
    try:
        return request.environ  # type: ignore[attr-defined, no-any-return]
    except AttributeError:
        return getattr(request, "scope", {})


def method(request: HttpRequest) -> str:
    """Return the method as it was sent: Django makes it upper case."""
    below = server_request(request)
    return str(below.get("REQUEST_METHOD") or below.get("method"))


def note_outer(request: HttpRequest, key: str, outer: Observation) -> None:
    """Keep the observation of a door further out: what happens to `request` concerns it, too."""
    vars(request).setdefault(_OUTER, {})[key] = outer


def observations(request: HttpRequest) -> list[Observation]:
    """Return the observations of `request`, one for each registry."""
    own = [
        one
        for key, one in list(server_request(request).items())
        if key.startswith(KEY_PREFIX) and isinstance(one, Handled) and one.request is request
    ]
    return [*own, *vars(request).get(_OUTER, {}).values()]


def discard(request: HttpRequest) -> None:
    """Forget the request, in doors further out as well: it is a scrape."""
    below = server_request(request)
    discard_observations(below)
    if "REQUEST_METHOD" in below:
        nesting.discard(below["REQUEST_METHOD"], paths_of(below))


def answer_scrape(
    request: HttpRequest,
    config: Configuration | None = None,
    kind: type[HttpResponse] = HttpResponse,
) -> HttpResponse:
    """Answer a scrape of the registry of `config`, or of the settings; never raises."""
    try:
        config = config or Configuration.from_options(configured())
        response = answer(config.registry, partial(_scrape_request, request), config.access)
        return kind(response.body, status=response.status, headers=dict(response.headers))
    except Exception as error:
        failures.report("scrape", error)
        return kind(status=500)


def _scrape_request(request: HttpRequest) -> ScrapeRequest:
    discard(request)
    return ScrapeRequest(
        method=method(request),
        path=request.path_info,
        query=request.META.get("QUERY_STRING", ""),
        headers=Dialect().headers(request),
        client=request.META.get("REMOTE_ADDR") or None,
        mount=request.path.removesuffix(request.path_info),
    )
