"""The middleware, for synchronous and asynchronous handlers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from contextlib import suppress
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from prom_middleware import failures
from prom_middleware.django.closing import expect_ends
from prom_middleware.django.requests import (
    Dialect,
    Handled,
    answer_scrape,
    configured,
    note_outer,
    observations,
    server_request,
)
from prom_middleware.django.responses import client_left, observe_response, watch_stream
from prom_middleware.exposition.beside import beside
from prom_middleware.instrumentation import Instrumentation, Observation, nesting
from prom_middleware.instrumentation.queueing import QUEUE_START, REQUEST_START
from prom_middleware.instrumentation.tracing import HTTP_TRACEPARENT, TRACING
from prom_middleware.wsgi.input import FRAMED, CountedInput
from prom_middleware.wsgi.place import enter, outer_observation, place_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prom_middleware.instrumentation import Options


# Loaded by whoever makes an ASGI application; a WSGI server is spared the signal.
_ASGI = "django.core.handlers.asgi"


class PrometheusMiddleware:
    """Record the requests of a Django project, and answer /metrics.

    Options come from `settings.PROM_MIDDLEWARE`; those given here win. Raises a ConfigurationError.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[..., Any], **options: Unpack[Options]) -> None:
        self._get_response = get_response
        self._dialect = Dialect()
        self._core = core = Instrumentation(configured(**options), self._dialect)
        self._metrics_paths = core.config.metrics_paths
        nesting.expect_inner_doors()
        self._outermost = _is_outermost(type(self))
        if not self._outermost or _ASGI in sys.modules:
            expect_ends()
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)
        self._awaited_by = {by_asgi: _awaits(type(self), by_asgi) for by_asgi in (False, True)}
        if TRACING in core.modules:
            # Middleware further in that makes a span has ended it when we see the response.
            self.process_view = self._view_async if self._async else self._view

    def __call__(self, request: HttpRequest) -> Any:
        """Answer one request: a response, or a coroutine of one where the handler is async."""
        if self._async:
            return self._answer_async(request)
        if request.path_info in self._metrics_paths:
            return self._scraped(request)
        observation = self._start(request)
        try:
            response = self._get_response(request)
        except BaseException as error:
            self._failed(request, observation, error)
            raise
        if not isinstance(response, HttpResponseBase) and isawaitable(response):
            return self._awaited(request, observation, response)
        if observation is None:
            self._refine(request)
            watch_stream(request, self._core.key, response)
        else:
            observe_response(observation, response, self._outermost)
        return response

    async def _awaited(
        self, request: HttpRequest, observation: Handled | None, coming: Awaitable[Any]
    ) -> Any:
        """Await what middleware further in has handed on, asynchronous and not marked so."""
        try:
            response = await coming
        except BaseException as error:
            self._failed(request, observation, error)
            raise
        self._observe(request, observation, response)
        return response

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info in self._metrics_paths:
            return await self._scrape(request)
        observation = self._start(request)
        try:
            response: HttpResponseBase = await self._get_response(request)
        except BaseException as error:
            self._failed(request, observation, error)
            raise
        self._observe(request, observation, response)
        return response

    def _observe(self, request: HttpRequest, observation: Handled | None, response: Any) -> None:
        try:
            if observation is None:
                self._refine(request)
                watch_stream(request, self._core.key, response)
            else:
                observe_response(observation, response, self._outermost)
        except Exception as error:
            failures.report("response", error)

    def _scraped(self, request: HttpRequest) -> Any:
        """Return a response, or what can be awaited: middleware further in may be asynchronous and
        not marked so, as one that hands on what comes is. Then so are we, and Django awaits us.
        """
        try:
            by_asgi = not hasattr(request, "environ")
            if by_asgi and _in_loop():
                return self._scrape(request)
            kind = AwaitableResponse if self._awaited_by[by_asgi] else HttpResponse
            return answer_scrape(request, self._core.config, kind)
        except Exception as error:
            failures.report("scrape", error)
            return AwaitableResponse(status=500)

    async def _scrape(self, request: HttpRequest) -> HttpResponseBase:
        """Answer in a thread: a large registry must not hold up the event loop."""
        try:
            return await beside(partial(answer_scrape, request, self._core.config))
        except Exception as error:
            failures.report("scrape", error)
            return HttpResponse(status=500)

    def _view(self, request: HttpRequest, *_: object) -> None:
        try:
            observation = server_request(request).get(self._core.key)
            if observation is not None:
                self._core.exemplars.hold(observation)
        except Exception as error:
            failures.report("exemplar", error)

    async def _view_async(self, request: HttpRequest, *_: object) -> None:
        self._view(request)

    def _start(self, request: HttpRequest) -> Handled | None:
        try:
            core, below = self._core, server_request(request)
            wsgi = "REQUEST_METHOD" in below
            if core.key in below or (wsgi and nesting.outer_doors):
                outer = outer_observation(below, core.key)
                if outer is not None and not outer.done:
                    note_outer(request, core.key, outer)
                    return None
            if core.excluded is not None and core.excluded(request.path_info):
                return None
            meta = request.META
            if REQUEST_START in meta or QUEUE_START in meta:
                core.queued(meta.get(REQUEST_START), meta.get(QUEUE_START))
            observation = Handled()
            observation.begin(core, request, below["REQUEST_METHOD" if wsgi else "method"])
            try:
                observation.path, observation.wsgi = request.path_info, wsgi
                if HTTP_TRACEPARENT in meta and core.traced:
                    observation.trace = meta[HTTP_TRACEPARENT]
                if wsgi:
                    enter(below)
                below[core.key] = observation
                if (
                    meta.get("CONTENT_LENGTH")
                    or "HTTP_TRANSFER_ENCODING" in meta
                    or below.get("http_version") in FRAMED  # by WSGI, Django reads none of it
                ):
                    _observe_body(request, observation)
                return observation
            except Exception:
                observation.discard()
                raise
        except Exception as error:
            failures.report("start", error)
            return None

    def _failed(
        self, request: HttpRequest, observation: Handled | None, error: BaseException
    ) -> None:
        try:
            if observation is None:
                self._refine(request)
                outer = self._outer(request)
                if outer is not None:
                    outer.raised(error)
                return
            observation.disconnected = client_left(observation, error)
            observation.failed(error)
        except Exception as failure:
            failures.report("finish", failure)
            if observation is not None:
                observation.discard()

    def _refine(self, request: HttpRequest) -> None:
        try:
            outer = self._outer(request)
            route = None if outer is None else self._dialect.route(request)
            if outer is None or route is None:
                return
            outer.route = _place(server_request(request), outer) + route
        except Exception as error:
            failures.report("route", error)

    def _outer(self, request: HttpRequest) -> Observation | None:
        outer: Observation | None = server_request(request).get(self._core.key)
        return None if outer is None or outer.done else outer


class AwaitableResponse(HttpResponse):
    """A response for who reads it, and for who awaits it: by WSGI, nothing tells them apart."""

    def __await__(self) -> Generator[None, None, AwaitableResponse]:
        """Wait for nothing, and return the response."""
        yield from ()
        return self


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _awaits(kind: type, by_asgi: bool) -> bool:
    """Tell whether Django awaits what a middleware returns, by what the classes say of themselves.

    So does its `load_middleware`; whether they are marked as coroutine functions is another matter.
    Which of them it leaves out, since they are not used, is not known here.
    """
    is_async = by_asgi
    with suppress(Exception):  # made by hand: Django itself has imported them by now
        for path in reversed(settings.MIDDLEWARE):
            middleware = import_string(path)
            if is_async or not getattr(middleware, "sync_capable", True):
                is_async = getattr(middleware, "async_capable", False)
            if middleware is kind:
                break
    return is_async


def _is_outermost(kind: type) -> bool:
    first: str | None = next(iter(settings.MIDDLEWARE), None)
    return first is not None and import_string(first) is kind


def _place(below: MutableMapping[str, Any], outer: Observation) -> str:
    if "REQUEST_METHOD" in below:
        return place_of(below, outer)
    mount = nesting.chosen_mount(outer)
    if mount or outer.request is below or isinstance(outer, Handled):
        return mount
    from prom_middleware.asgi.scopes import added_root  # few dispatchers copy the scope

    return outer.core.prefixes.label(added_root(outer.request, below))


def _observe_body(request: HttpRequest, observation: Observation) -> None:
    stream: Any = request._stream
    if not _can_seek(request, stream):
        request._stream = CountedInput(stream, observation)  # type: ignore[assignment]
        return
    place = stream.tell()  # middleware further out may have read some of it
    observation.received = stream.seek(0, 2) or stream.tell()
    stream.seek(place)


def _can_seek(request: HttpRequest, stream: Any) -> bool:
    # So can what has been received whole: by an ASGI handler, into a file, which tells it since
    # Python 3.11; by middleware further out that has asked for `request.body`. What comes from a
    # WSGI server's socket cannot, nor what a test client gives.
    try:
        return bool(stream.seekable())
    except AttributeError:
        return not hasattr(request, "environ")


def _note_exception(*_: object, request: HttpRequest | None = None, **__: object) -> None:
    try:
        error = sys.exc_info()[1]
        if request is not None and error is not None:
            for observation in observations(request):
                observation.raised(error)
                if isinstance(observation, Handled) and observation.request is request:
                    observation.drop_response()
    except Exception as failure:
        failures.report("exception", failure)


got_request_exception.connect(_note_exception, dispatch_uid="prom_middleware", weak=False)
