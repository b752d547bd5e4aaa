"""What a Django request and its URL resolver say, in the core's words."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from functools import lru_cache, partial
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django.utils import translation

from prom_middleware import failures
from prom_middleware.errors import OptionError
from prom_middleware.exposition import ScrapeRequest
from prom_middleware.exposition.scraping import answer
from prom_middleware.instrumentation import (
    KEY_PREFIX,
    Configuration,
    Observation,
    discard_observations,
    nesting,
)
from prom_middleware.wsgi.place import paths_of

# On a request: the observations of doors further out, by registry.
_OUTER = "_prom_middleware"
# Anchors of patterns that re_path() joins; not those in a class ([^/]) or escaped.
_ANCHORS = re.compile(r"(?<![\[\\])\^|(?<!\\)\$|\\[AZ]")


def configured(**options: Any) -> dict[str, Any]:
    """Return what `settings.PROM_MIDDLEWARE` says, and `options`, which win."""
    given = getattr(settings, "PROM_MIDDLEWARE", {})
    if not isinstance(given, Mapping):
        raise OptionError(f"settings.PROM_MIDDLEWARE={given!r}: give a dictionary of options")
    if given:  # kept as taken: every door asks, and an iterator among them is read once
        settings.PROM_MIDDLEWARE = given = Configuration.from_options(given).options
    return {**given, **Configuration.from_options(options).options}


class Handled(Observation):
    """An observation of a request that a Django handler serves; `wsgi` tells which kind."""

    __slots__ = ("wsgi",)

    wsgi: bool  # set by the middleware


class Dialect:
    """How the core reads a Django request."""

    def route(self, request: HttpRequest) -> str | None:
        """Return the template that the URL resolver chose, or would have chosen."""
        match = request.resolver_match or _unresolved(request)
        return None if match is None else template(match.route)

    def path(self, request: HttpRequest) -> str:
        """Return the path below the script name."""
        return request.path_info

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
    except Resolver404:
        return None


def _language(request: HttpRequest) -> str:
    # As LocaleMiddleware set it, or would have: the thread's is that of the request before, maybe.
    chosen: str | None = getattr(request, "LANGUAGE_CODE", None)
    chosen = chosen or translation.get_language_from_path(request.path_info)
    return chosen or settings.LANGUAGE_CODE


@lru_cache(maxsize=4096)  # as many as a project has patterns, times its languages
def template(route: str) -> str:
    """Return the label for what `path()` and `re_path()` joined to a route."""
    if "(?P<" in route:
        from django.contrib.admindocs.utils import replace_named_groups

        route = replace_named_groups(route)
    return "/" + _ANCHORS.sub("", route).removeprefix("/")


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


def answer_scrape(request: HttpRequest, config: Configuration) -> HttpResponse:
    """Answer a scrape of the configured registry; never raises."""
    try:
        response = answer(config.registry, partial(_scrape_request, request), config.access)
        return HttpResponse(response.body, status=response.status, headers=dict(response.headers))
    except Exception as error:
        failures.report("scrape", error)
        return HttpResponse(status=500)


def _scrape_request(request: HttpRequest) -> ScrapeRequest:
    discard(request)
    return ScrapeRequest(
        method=method(request),
        path=request.path_info,
        query=request.META.get("QUERY_STRING", ""),
        headers=Dialect().headers(request),
        client=request.META.get("REMOTE_ADDR"),
    )
