"""Django: the WSGI handler with a view, and the ASGI handler with an asynchronous one."""

from __future__ import annotations

import asyncio
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from types import ModuleType
from typing import Any

import django
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import JsonResponse
from django.urls import URLPattern
from django.urls import path as django_path
from django.urls.resolvers import RoutePattern
from django.utils.decorators import sync_and_async_middleware
from prometheus_client import REGISTRY, CollectorRegistry

from benchmarks import traffic
from benchmarks.counting import Called, Count, otel, samples
from benchmarks.limits import BOUNDS, SENT, SUM, Histogram, Recorder
from benchmarks.matching import Stopwatch
from benchmarks.rounds import OURS, PASS, PEER, RECORDER, TIMER, Case, Contender

PARAMETER = "<str:item_id>"
LOOP = asyncio.new_event_loop()
# Where `timed` and `recorded` put what they find; set before a handler builds its chain.
HISTOGRAM = [Histogram()]
RECORDED = [Recorder()]
COMPACT = {"separators": (",", ":")}


def view(request: Any, item_id: str) -> JsonResponse:
    """Answer."""
    return JsonResponse({**traffic.DATA, "id": item_id}, json_dumps_params=COMPACT)


async def async_view(request: Any, item_id: str) -> JsonResponse:
    """Answer."""
    return JsonResponse({**traffic.DATA, "id": item_id}, json_dumps_params=COMPACT)


@sync_and_async_middleware
def passed(get_response: Callable[..., Any]) -> Callable[..., Any]:
    """Pass a request on."""
    if iscoroutinefunction(get_response):

        async def pass_async(request: Any) -> Any:
            return await get_response(request)

        return pass_async

    def pass_sync(request: Any) -> Any:
        return get_response(request)

    return pass_sync


@sync_and_async_middleware
def timed(get_response: Callable[..., Any]) -> Callable[..., Any]:
    """Take the time of a request, up to where the middleware gives its response back."""
    histogram = HISTOGRAM[0]

    def record(seconds: float) -> None:
        histogram.counts[bisect_left(BOUNDS, seconds)] += 1
        histogram.sum += seconds

    if iscoroutinefunction(get_response):

        async def time_async(request: Any) -> Any:
            start = perf_counter()
            response = await get_response(request)
            record(perf_counter() - start)
            return response

        return time_async

    def time_sync(request: Any) -> Any:
        start = perf_counter()
        response = get_response(request)
        record(perf_counter() - start)
        return response

    return time_sync


@sync_and_async_middleware
def recorded(get_response: Callable[..., Any]) -> Callable[..., Any]:
    """Record a request, up to where the middleware gives its response back."""
    running, blocks = RECORDED[0].running, RECORDED[0].blocks

    def record(request: Any, response: Any, start: float) -> None:
        seconds = perf_counter() - start
        running[request.method] -= 1
        block = blocks[request.method, request.resolver_match.route, response.status_code]
        block[bisect_left(BOUNDS, seconds)] += 1
        block[SUM] += seconds
        block[SENT] += len(response.content)

    if iscoroutinefunction(get_response):

        async def record_async(request: Any) -> Any:
            running[request.method] += 1
            start = perf_counter()
            response = await get_response(request)
            record(request, response, start)
            return response

        return record_async

    def record_sync(request: Any) -> Any:
        running[request.method] += 1
        start = perf_counter()
        response = get_response(request)
        record(request, response, start)
        return response

    return record_sync


class Passed(URLPattern):
    """Match nothing, and tell that the matching has come so far."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__(RoutePattern("-"), view)
        self._tell = tell

    def resolve(self, path: str) -> None:
        """Match nothing."""
        self._tell()


class Strangers(URLPattern):
    """Try other routes, and match nothing."""

    def __init__(self, others: Sequence[URLPattern]) -> None:
        super().__init__(RoutePattern("-"), view)
        self._others = others

    def resolve(self, path: str) -> None:
        """Match nothing."""
        for route in self._others:
            route.resolve(path)


@dataclass(frozen=True)
class Handler:
    """One of Django's two, and how it is called."""

    make: Callable[[], Any]
    view: Callable[..., Any]
    drive: Callable[[Any, str], Callable[[int], float]]


WSGI = Handler(WSGIHandler, view, traffic.wsgi)
ASGI = Handler(ASGIHandler, async_view, lambda app, path: traffic.asgi(app, path, LOOP))


def wsgi(routes: tuple[int, ...]) -> list[Case]:
    """Return the cases of the WSGI handler."""
    return [_case(number, WSGI, _peers) for number in _set_up(routes)]


def asgi(routes: tuple[int, ...]) -> list[Case]:
    """Return the cases of the ASGI handler."""
    return [_case(number, ASGI, _peers) for number in _set_up(routes)]


def wsgi_uncounted(routes: tuple[int, ...]) -> list[Case]:
    """Return the same cases without peers, and the matching is not counted."""
    cases = [_case(number, WSGI, watch=Stopwatch()) for number in _set_up(routes)]
    strange = _case(max(routes), WSGI, watch=Stopwatch(), hide=Strangers)
    return [*cases, replace(strange, routes=1, strangers=max(routes) - 1)]


def _set_up(routes: tuple[int, ...]) -> tuple[int, ...]:
    settings.configure(ALLOWED_HOSTS=["*"], MIDDLEWARE=[], SECRET_KEY="-", USE_TZ=True)
    django.setup()
    return routes


def _urls(
    routes: int,
    view: Callable[..., Any],
    watch: Stopwatch | None,
    hide: type[Strangers] | None,
) -> str:
    module = ModuleType(f"benchmarks_urls_{routes}" + ("_hidden" if hide else ""))
    patterns = [
        django_path(traffic.template(n, PARAMETER)[1:], view, name=f"item{n}")
        for n in range(routes)
    ]
    if watch is not None:
        patterns = watch.around(patterns, Passed, hide)
    module.urlpatterns = patterns  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    return module.__name__


def _no_peers(routes: int, contender: Callable[..., Contender]) -> Iterator[Contender]:
    return iter(())


def _case(
    routes: int,
    handler: Handler,
    peers: Callable[..., Iterator[Contender]] = _no_peers,
    watch: Stopwatch | None = None,
    hide: type[Strangers] | None = None,
) -> Case:
    urls = _urls(routes, handler.view, watch, hide)

    def contender(
        name: str, role: str, middleware: Sequence[str], count: Count | None = None
    ) -> Contender:
        settings.MIDDLEWARE = list(middleware)
        drive = handler.drive(handler.make(), traffic.path(routes))
        drive = drive if watch is None else watch.without(drive)

        def drive_here(number: int) -> float:
            settings.ROOT_URLCONF = urls
            return drive(number)

        return Contender(name, role, drive_here, count)

    bare = contender("bare", "bare", [])
    return Case(routes, bare, [*_own(routes, contender), *peers(routes, contender)])


def _own(routes: int, contender: Callable[..., Contender]) -> Iterator[Contender]:
    route = traffic.template(routes - 1, PARAMETER)
    HISTOGRAM[0], RECORDED[0] = Histogram(), Recorder()
    yield contender(PASS, PASS, [f"{__name__}.passed"])
    yield contender(TIMER, TIMER, [f"{__name__}.timed"], Called(HISTOGRAM[0].count))
    yield contender(RECORDER, RECORDER, [f"{__name__}.recorded"], Called(RECORDED[0].count))

    registry = CollectorRegistry()
    settings.PROM_MIDDLEWARE = {"registry": registry}
    count = samples(registry, "http_requests_total", method="GET", route=route, status="200")
    ours = ["prom_middleware.django.PrometheusMiddleware"]
    yield contender("prom_middleware", OURS, ours, count)


def _peers(routes: int, contender: Callable[..., Contender]) -> Iterator[Contender]:
    # Its metrics are in the default registry, and named by the view.
    count: Count = samples(
        REGISTRY,
        "django_http_responses_total_by_status_view_method_total",
        status="200",
        view=f"item{routes - 1}",
        method="GET",
    )
    peer = [f"django_prometheus.middleware.Prometheus{where}Middleware" for where in PLACES]
    yield contender("django-prometheus", PEER, peer, count)

    middleware, points = _otel()
    count = points(traffic.template(routes - 1, PARAMETER)[1:])
    yield contender("opentelemetry-instrumentation-django", PEER, middleware, count)


PLACES = ("Before", "After")
_OTEL: list[Any] = []


def _otel() -> tuple[list[str], Callable[..., Count]]:
    """Return its middleware, and what counts; a process can instrument Django once."""
    from opentelemetry.instrumentation.django import DjangoInstrumentor

    if not _OTEL:
        provider, points = otel()
        settings.MIDDLEWARE = []
        DjangoInstrumentor().instrument(meter_provider=provider)
        _OTEL.extend((list(settings.MIDDLEWARE), points))
    return _OTEL[0], _OTEL[1]
