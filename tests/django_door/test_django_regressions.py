"""What went wrong once on the Django door, or nearly did, each with the smallest case."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults

import pytest
from django import VERSION
from django.core.cache import caches
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_only_middleware
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from asgi.driver import Answer, exchange, http_scope, http_server, request
from django_door.project import Project
from django_door.settings import CHAIN, OURS
from garbage import no_collection
from metrics import collected, in_progress, records, series, value
from prom_middleware import basic_auth, failures, instrument

USER = "/u/<int:id>/"
HIT = ("GET", USER, 200, "", "complete")
SERVERS = pytest.mark.parametrize("server", ["wsgi", "asgi"])
OPEN = {"Authorization": "Basic am9lOnNlY3JldA=="}  # joe:secret
WRONG = {"Authorization": "Basic am9lOndyb25n"}  # joe:wrong
PATIENCE = 20.0  # seconds; only a failing test waits that long


# instrument() around a handler.


def by_settings(handler: Any, **_: Any) -> Any:
    """Instrument without an option, so that those of the settings count."""
    return instrument(handler)


def by_an_option(handler: Any, **_: Any) -> Any:
    """Give one option: those of the settings count beside it."""
    return instrument(handler, max_series=100)


def by_options(handler: Any, **options: Any) -> Any:
    return instrument(handler, access=basic_auth("joe", "secret"), **options)


GUARDS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "settings": (by_settings, {"access": basic_auth("joe", "secret")}),
    "options": (by_options, {}),
    "settings beside an option": (by_an_option, {"access": basic_auth("joe", "secret")}),
    "both": (by_settings, {"access": basic_auth("joe", "secret"), "labels": {"zone": "north"}}),
}


@SERVERS
@pytest.mark.parametrize("chain", [CHAIN, CHAIN[1:]], ids=["in-the-chain-too", "alone"])
@pytest.mark.parametrize("guard", GUARDS)
def test_an_instrumented_handler_obeys_the_access_rule(
    server: str, guard: str, chain: list[str]
) -> None:
    wrap, options = GUARDS[guard]
    with Project(server, wrap, PROM_MIDDLEWARE=options, MIDDLEWARE=chain) as project:
        project.fetch("GET", "/u/3/")
        for path in ("/metrics", "/metrics/"):
            for headers in ({}, WRONG):
                refused = project.fetch("GET", path, headers=headers)
                assert refused.status == 401
                assert refused.headers["www-authenticate"].startswith("Basic")
                assert b"http_requests_total" not in refused.body
            answer = project.fetch("GET", path, headers=OPEN)
            assert answer.status == 200
            assert value(series(answer.body.decode()), "http_requests_total") == 1
        assert records(project.registry) == [HIT]
        assert in_progress(project.registry) == 0


@pytest.mark.parametrize("given", ["", "192.0.2.1"])
def test_an_access_rule_is_told_of_the_mount_and_the_peer(given: str) -> None:
    asked: list[Any] = []

    def access(request: Any) -> bool:
        asked.append((request.mount, request.path, request.client))
        return True

    for wrap, options in ((None, {"access": access}), (partial(instrument, access=access), {})):
        with Project("wsgi", wrap, PROM_MIDDLEWARE=options) as project:
            environ = {"SCRIPT_NAME": "/shop", "PATH_INFO": "/metrics", "REMOTE_ADDR": given}
            setup_testing_defaults(environ)
            assert b"prom_middleware_workers" in b"".join(project.handler(environ, lambda *_: None))
    # gunicorn has an empty text for the peer on a Unix socket.
    assert asked == [("/shop", "/metrics", given or None)] * 2


@SERVERS
def test_an_instrumented_handler_obeys_the_other_settings(server: str) -> None:
    options = {"metrics_path": "/m", "exclude": ["/only/"], "labels": {"zone": "north"}}
    with Project(server, by_settings, PROM_MIDDLEWARE=options, MIDDLEWARE=CHAIN[1:]) as project:
        project.fetch("GET", "/only/")
        project.fetch("GET", "/u/3/")
        assert records(project.registry) == [HIT]
        wanted = {"zone": "north", "route": USER}
        assert value(collected(project.registry), "http_requests_total", wanted) == 1
        assert project.fetch("GET", "/m").status == 200
        assert project.fetch("GET", "/metrics").status in (301, 404)


# Websockets.


@pytest.mark.parametrize("wrap", [None, instrument], ids=["middleware", "instrument"])
@pytest.mark.parametrize("server", ["wsgi", "asgi"])
def test_a_handshake_that_is_answered_is_a_request(server: str, wrap: Any) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "bm9uY2U="}
    with Project(server, wrap) as project:
        project.fetch("GET", "/u/3/", headers=headers)
        assert records(project.registry) == [HIT]
        assert in_progress(project.registry) == 0


# Responses that something further out keeps, or puts another one in the place of.


def replaces(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        get_response(request)
        return HttpResponse("replaced", status=202)

    return middleware


@pytest.mark.parametrize("path", ["/u/3/", "/st/"])
def test_a_response_that_was_replaced_is_recorded_once(path: str) -> None:
    route = {"/u/3/": USER}.get(path, path)
    with Project("wsgi", MIDDLEWARE=[f"{__name__}.replaces", OURS]) as project:
        assert project.fetch("GET", path).body == b"replaced"
        gc.collect()
        assert records(project.registry) == [("GET", route, 200, "", "complete")]
        assert in_progress(project.registry) == 0


def raises(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        raise KeyError(response.status_code)

    return middleware


@pytest.mark.parametrize("path", ["/u/3/", "/st/"])
@SERVERS
def test_what_is_raised_further_out_once_there_is_a_response(server: str, path: str) -> None:
    route = {"/u/3/": USER}.get(path, path)
    gc.disable()  # it must not be what ends a request
    try:
        with Project(server, MIDDLEWARE=[f"{__name__}.raises", OURS]) as project:
            assert project.fetch("GET", path).status == 500
            assert in_progress(project.registry) == 0
            expected = [("GET", route, 500, "KeyError", "complete")]
            assert records(project.registry) == expected
            gc.collect()
            assert records(project.registry) == expected
            assert value(collected(project.registry), "http_response_body_bytes_total") == 0
    finally:
        gc.enable()


CACHING = [
    "django.middleware.cache.UpdateCacheMiddleware",
    OURS,
    "django.middleware.cache.FetchFromCacheMiddleware",
]
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "test_django_regressions",
    }
}


@SERVERS
def test_a_response_can_be_cached_further_out(server: str) -> None:
    with Project(server, MIDDLEWARE=CACHING, CACHES=CACHES, USE_I18N=False) as project:
        path = f"/u/3/?server={server}"
        answers = [project.fetch("GET", path) for _ in range(3)]
        assert [answer.error for answer in answers] == [None] * 3
        assert [answer.body for answer in answers] == [b"3 0"] * 3
        expires = {answer.headers["expires"] for answer in answers}
        assert len(expires) == 1  # the later ones came from the cache
        assert records(project.registry) == [HIT] * 3
        assert in_progress(project.registry) == 0
        assert value(collected(project.registry), "http_response_body_bytes_total") == 9
        # Another process that reads it need not have us.
        stored = b"".join(caches["default"]._cache.values())
        assert b"3 0" in stored
        assert b"prom_middleware" not in stored


# The metrics as a URL.


@SERVERS
@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/inner/metrics", "/inner/metrics/"])
def test_the_urls_answer_405_to_a_post_behind_csrf(server: str, path: str) -> None:
    changes = {
        "ROOT_URLCONF": "django_door.metrics_urls",
        "PROM_MIDDLEWARE": {"metrics_path": None},
        "MIDDLEWARE": [OURS, "django.middleware.csrf.CsrfViewMiddleware"],
    }
    with Project(server, **changes) as project:
        refused = project.fetch("POST", path)
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
        assert project.fetch("GET", path).status == 200
        assert records(project.registry) == []
        assert in_progress(project.registry) == 0


# What must not hold up the event loop.


class Slow:
    """A collector that waits for what only the event loop can do."""

    def __init__(self) -> None:
        self.asked, self.answered = threading.Event(), threading.Event()
        self.in_time: list[bool] = []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        self.asked.set()
        self.in_time.append(self.answered.wait(PATIENCE))
        yield GaugeMetricFamily("slow", "Waited for.", value=1)


@pytest.mark.parametrize("chain", [CHAIN, [OURS]], ids=["a-sync-middleware-inside", "alone"])
def test_a_slow_scrape_does_not_hold_up_the_loop(chain: list[str]) -> None:
    slow = Slow()

    async def main(project: Project) -> tuple[Answer, Answer]:
        handler = project.handler
        scrape = asyncio.ensure_future(exchange(handler, http_scope("/metrics"), http_server()))
        while not slow.asked.is_set() and not scrape.done():
            await asyncio.sleep(0.01)
        other = await exchange(handler, http_scope("/a/3/"), http_server())
        slow.answered.set()
        return await scrape, other

    with Project("asgi", MIDDLEWARE=chain) as project:
        project.registry.register(slow)
        scrape, other = asyncio.run(main(project))
        assert slow.in_time == [True]
        assert b"slow 1.0" in scrape.body
        assert other.body == b"3 0"
        assert records(project.registry) == [("GET", "/a/<int:id>/", 200, "", "complete")]


class Broken:
    def collect(self) -> Iterator[GaugeMetricFamily]:
        raise ValueError("broken")


@SERVERS
def test_a_broken_scrape_is_answered_and_leaves_nothing_up(server: str) -> None:
    with Project(server) as project:
        project.registry.register(broken := Broken())
        answer = project.fetch("GET", "/metrics")
        assert (answer.status, answer.error) == (200, None)
        assert failures.counts()["collector"] > 0
        project.registry.unregister(broken)
        assert project.fetch("GET", "/metrics").status == 200
        assert records(project.registry) == []


# Adapters that close nothing: asgiref's, and Starlette's.


@pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="frames of asgiref's Local are in a cycle there, which has Django's request",
)
@pytest.mark.parametrize("path", ["/u/3/", "/h404/", "/st/"])
def test_a_response_that_is_dropped_does_not_wait_for_the_garbage_collector(path: str) -> None:
    adapter = pytest.importorskip("asgiref.wsgi")
    with Project("wsgi") as project:
        gc.disable()
        try:
            request(adapter.WsgiToAsgi(project.handler), path)
            assert [record[4] for record in records(project.registry)] == ["complete"]
            assert in_progress(project.registry) == 0
        finally:
            gc.enable()


# HEAD.


@SERVERS
@pytest.mark.parametrize("path", ["/u/3/", "/st/", "/ast/", "/mfr/", "/boom/"])
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_no_bytes_of_a_head_are_counted(server: str, path: str) -> None:
    with Project(server, instrument, MIDDLEWARE=CHAIN[1:]) as project:
        project.fetch("HEAD", path)
        assert [record[0] for record in records(project.registry)] == ["HEAD"]
        assert value(collected(project.registry), "http_response_body_bytes_total") == 0


@pytest.mark.parametrize("wrap", [None, instrument], ids=["middleware", "instrument"])
def test_no_bytes_of_a_file_s_head_are_counted(wrap: Any) -> None:
    from wsgi_door.driver import call, environ

    registry = CollectorRegistry()
    with Project("wsgi", wrap and (lambda handler, **_: wrap(handler, registry=registry))) as made:
        request = environ("HEAD", "/fr/", **{"wsgi.file_wrapper": FileWrapper})
        assert call(made.handler, request, iterate=False).status == 200
        counted = made.registry if wrap is None else registry
        assert records(counted) == [("HEAD", "/fr/", 200, "", "complete")]
        assert value(collected(counted), "http_response_body_bytes_total") == 0
        assert in_progress(counted) == 0


# What else is in the server's request, or is not.


class Lazy:
    """Something of the application's that must not be looked at."""

    looked = 0

    @property
    def __class__(self) -> type:  # as Django's lazy objects do
        Lazy.looked += 1
        raise ValueError("not now")


@pytest.mark.parametrize("path", ["/boom/", "/nothing/", "/u/3/"])
def test_what_the_application_keeps_there_is_left_alone(path: str) -> None:
    from wsgi_door.driver import call, environ

    Lazy.looked, failed = 0, dict(failures.counts())
    with Project("wsgi") as project:
        call(project.handler, environ("GET", path, **{"app.user": Lazy()}))
        [record] = records(project.registry)
        assert record[3] == ("ValueError" if path == "/boom/" else "")
    assert Lazy.looked == 0
    assert failures.counts() == failed


def test_exceptions_are_counted_where_django_is_recorded() -> None:
    from prom_middleware.wsgi import PrometheusMiddleware
    from wsgi_door.driver import call, environ

    other = CollectorRegistry()
    with Project("wsgi") as project:
        door = PrometheusMiddleware(project.handler, registry=other, metrics_path=None)
        call(door, environ("GET", "/boom/"))
        assert value(collected(project.registry), "http_request_exceptions_total") == 1
        assert value(collected(other), "http_request_exceptions_total") == 0
        assert value(collected(other), "http_requests_total") == 1


def test_a_request_without_a_server_s_is_no_failure() -> None:
    def boom(request: HttpRequest) -> HttpResponse:
        raise ValueError

    failed = dict(failures.counts())
    with Project("wsgi"):
        request = HttpRequest()
        assert convert_exception_to_response(boom)(request).status_code == 500
    assert failures.counts() == failed


ANCHORED = {
    "/odata/$metadata/": "/odata/$metadata/",
    "/odata/metadata/": "/odata/metadata/",
    "/items/$count": "/items/$count",
    "/items/": "/items/",
    "/items/$": "/items/$",
    "/items/last/": "/items/last/",
    "/x^y/": "/x^y/",
    "/top/": "/top/",
    "/^top/$": "/^top/$",
    "/below/": "/below/",
    "/end": "/end",
    "/twice": "/twice",
    "/look/yes/": r"/look/(?!no$)\w+/",
    "/Flags/": "/(?i)flags/",
    "/price/$": r"/price/\$",
    "/both/$": r"/both/\$",
    "/back/\\": r"/back/\\",
    "/lang/": "/lang/",
    "/de/lang/": "/de/lang/",
}


@SERVERS
@pytest.mark.parametrize("paths", [list(ANCHORED), list(ANCHORED)[::-1]], ids=["there", "back"])
def test_only_of_a_re_path_are_anchors_dropped(server: str, paths: list[str]) -> None:
    with Project(server, ROOT_URLCONF="django_door.anchored_urls") as project:
        for path in paths:
            assert project.fetch("GET", path).status == 200, path
        found = sorted(route for _, route, *_ in records(project.registry))
    assert found == sorted(ANCHORED.values())


# Bodies of requests.


@pytest.mark.parametrize("version", ["1.1", "2", "3"])
def test_a_body_that_no_header_announces(version: str) -> None:
    with Project("asgi") as project:
        assert project.fetch("POST", "/post/", body=b"12345", version=version).status == 200
        assert value(collected(project.registry), "http_request_body_bytes_total") == 5


def test_a_body_of_which_middleware_further_out_has_read_some() -> None:
    with Project("asgi", MIDDLEWARE=[f"{__name__}.peeking", OURS]) as project:
        assert project.fetch("POST", "/lines/", body=b"0123456789").body == b"6"
        assert value(collected(project.registry), "http_request_body_bytes_total") == 10


def peeking(following: Callable[[HttpRequest], HttpResponse]) -> Any:
    def middleware(asked: HttpRequest) -> HttpResponse:
        assert asked.read(4) == b"0123"
        return following(asked)

    return middleware


@pytest.mark.parametrize("server", ["wsgi", "asgi"])
@pytest.mark.parametrize("path", ["/lines/", "/post/"])
def test_a_body_that_middleware_further_out_has_read(server: str, path: str) -> None:
    with Project(server, MIDDLEWARE=[f"{__name__}.reading", OURS]) as project:
        assert project.fetch("POST", path, body=b"0123456789").status == 200
        assert value(collected(project.registry), "http_request_body_bytes_total") == 10


def reading(following: Callable[[HttpRequest], HttpResponse]) -> Any:
    def middleware(asked: HttpRequest) -> HttpResponse:
        assert asked.body == b"0123456789"
        return following(asked)

    return middleware


def test_a_body_that_cannot_seek_as_a_test_client_gives_it() -> None:
    from django.test import AsyncClient

    with Project("asgi") as project:
        sent = AsyncClient().post("/lines/", b"0123456789", content_type="text/plain")
        assert asyncio.run(sent).content == b"10"
        assert records(project.registry) == [("POST", "/lines/", 200, "", "complete")]
        assert value(collected(project.registry), "http_request_body_bytes_total") == 10


def test_a_scrape_does_not_wait_for_the_threads_of_the_application() -> None:
    """The loop's pool is the application's: it may have filled that."""
    done = threading.Event()

    async def main(handler: Any) -> Answer:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, done.wait, PATIENCE)
        try:
            return await asyncio.wait_for(
                exchange(handler, http_scope("/metrics"), http_server()), PATIENCE / 2
            )
        finally:
            done.set()
            await busy

    with Project("asgi", MIDDLEWARE=[OURS]) as project:
        answer = asyncio.run(main(project.handler))
        assert answer.status == 200
        assert b"# TYPE prom_middleware_workers" in answer.body


REACHED, MAY_GO_ON = threading.Event(), threading.Event()


@sync_only_middleware
def held_up(following: Callable[[HttpRequest], HttpResponse]) -> Any:
    """Have all of the chain be in a thread, and wait there until the client has left."""

    def middleware(asked: HttpRequest) -> HttpResponse:
        REACHED.set()
        assert MAY_GO_ON.wait(PATIENCE)
        return following(asked)

    return middleware


@pytest.mark.skipif(VERSION < (5, 0), reason="Django 4.2 does not look whether a client leaves")
@pytest.mark.parametrize("path", ["/u/3/", "/nowhere/", "/boom/"])
def test_a_client_that_leaves_while_an_error_page_is_made(path: str) -> None:
    """Of which Django lets go in a cycle with the exception."""
    REACHED.clear()
    MAY_GO_ON.clear()

    async def main(handler: Any) -> None:
        asked = iter([{"type": "http.request", "body": b""}])

        async def receive() -> Any:
            for message in asked:
                return message
            while not REACHED.is_set():
                await asyncio.sleep(0.001)
            asyncio.get_running_loop().call_later(0.05, MAY_GO_ON.set)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            """Nobody is there."""

        await handler(http_scope(path), receive, send)

    with Project("asgi", MIDDLEWARE=[OURS, f"{__name__}.held_up"]) as project:
        with no_collection():
            with suppress(asyncio.CancelledError):
                asyncio.run(main(project.handler))
            assert in_progress(project.registry) == 0
        [record] = records(project.registry)
        assert record[4] == "disconnect"


@SERVERS
def test_a_view_that_returns_no_response(server: str) -> None:
    """Django makes a 500 of it, further out."""
    before = failures.counts().get("response", 0)
    with Project(server, MIDDLEWARE=[OURS, f"{__name__}.returning_text"]) as project:
        assert project.fetch("GET", "/u/3/").status == 500
        [(_, _, status, _, outcome)] = records(project.registry)
        assert (status, outcome) == (500, "error")
        assert in_progress(project.registry) == 0
    assert failures.counts().get("response", 0) == before


def returning_text(following: Callable[[HttpRequest], HttpResponse]) -> Any:
    return lambda asked: "no response"
