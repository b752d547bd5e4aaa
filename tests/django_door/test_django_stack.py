"""The Django door between other middleware, other doors, and the options."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import django
import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.utils import translation
from prometheus_client import CollectorRegistry

from django_door.project import HANDLERS, Answer, Project
from django_door.settings import CHAIN, OURS
from metrics import collected, in_progress, records, series, value
from prom_middleware import asgi, failures, wsgi
from prom_middleware.django import PrometheusMiddleware
from prom_middleware.errors import ConfigurationError

pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")

USER = "/u/<int:id>/"
SERVERS = pytest.mark.parametrize("server", ["wsgi", "asgi"])
OUTER = {"wsgi": wsgi.PrometheusMiddleware, "asgi": asgi.PrometheusMiddleware}
SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
AUTH = "django.contrib.auth.middleware.AuthenticationMiddleware"
LOGIN = "django.contrib.auth.middleware.LoginRequiredMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"
REFUSES = "django_door.views.refuses"
OTHER_URLS = "django_door.views.other_urls"


def seen(
    route: str, status: int = 200, exception: str = "", method: str = "GET"
) -> list[tuple[str, str, int, str, str]]:
    return [(method, route, status, exception, "complete")]


STACKS: dict[str, tuple[dict[str, Any], str, str, list[Any]]] = {
    "allowed-hosts": (
        {"ALLOWED_HOSTS": ["example.com"], "MIDDLEWARE": [OURS, COMMON]},
        "GET",
        "/u/3/",
        seen(USER, 400),
    ),
    "ssl-redirect": (
        {"SECURE_SSL_REDIRECT": True, "MIDDLEWARE": [OURS, SECURITY]},
        "GET",
        "/u/3/",
        seen(USER, 301),
    ),
    "ssl-redirect-unmatched": (
        {"SECURE_SSL_REDIRECT": True, "MIDDLEWARE": [OURS, SECURITY]},
        "GET",
        "/nope",
        seen("<unmatched>", 301),
    ),
    "login-required": (
        {"MIDDLEWARE": [OURS, SESSION, AUTH, LOGIN]},
        "GET",
        "/u/3/",
        seen(USER, 302),
    ),
    "csrf": ({"MIDDLEWARE": [OURS, CSRF]}, "POST", "/u/3/", seen(USER, 403, method="POST")),
    "csrf-inside-session": (
        {"MIDDLEWARE": [OURS, SESSION, CSRF], "CSRF_USE_SESSIONS": True},
        "POST",
        "/u/3/",
        seen(USER, 403, method="POST"),
    ),
    "before-routing": ({"MIDDLEWARE": [OURS, REFUSES]}, "GET", "/u/3/", seen(USER, 401)),
    "before-routing-404": (
        {"MIDDLEWARE": [OURS, REFUSES]},
        "GET",
        "/nope",
        seen("<unmatched>", 401),
    ),
    "request-urlconf": (
        {"MIDDLEWARE": [OURS, OTHER_URLS]},
        "GET",
        "/other/x/",
        seen("/other/<slug:name>/"),
    ),
    "request-urlconf-refused": (
        {"MIDDLEWARE": [OURS, OTHER_URLS, REFUSES]},
        "GET",
        "/other/x/",
        seen("/other/<slug:name>/", 401),
    ),
    "request-urlconf-404": (
        {"MIDDLEWARE": [OURS, OTHER_URLS]},
        "GET",
        "/u/3/",
        seen("<unmatched>", 404),
    ),
    "not-outermost": ({"MIDDLEWARE": [COMMON, OURS]}, "GET", "/u/3/", seen(USER)),
    "twice": ({"MIDDLEWARE": [OURS, *CHAIN]}, "GET", "/u/3/", seen(USER)),
    "twice-apart": (
        {"MIDDLEWARE": [*CHAIN, OURS]},
        "GET",
        "/boom/",
        seen("/boom/", 500, "ValueError"),
    ),
    "force-script-name": ({"FORCE_SCRIPT_NAME": "/front"}, "GET", "/u/3/", seen(USER)),
    "propagated": (
        {"DEBUG_PROPAGATE_EXCEPTIONS": True},
        "GET",
        "/boom/",
        [("GET", "/boom/", 500, "ValueError", "error")],
    ),
}


@SERVERS
@pytest.mark.parametrize("stack", STACKS)
def test_stack(server: str, stack: str) -> None:
    changes, method, path, expected = STACKS[stack]
    if LOGIN in changes.get("MIDDLEWARE", ()) and django.VERSION < (5, 1):
        pytest.skip("LoginRequiredMiddleware is new in Django 5.1")
    before = failures.counts()
    with Project(server, **changes) as project:
        answer = project.fetch(method, path)
        assert records(project.registry) == expected
        assert in_progress(project.registry) == 0
        assert failures.counts() == before
        assert answer.status == expected[0][2]


LOCALE = "django.middleware.locale.LocaleMiddleware"
REDIRECTS = {"SECURE_SSL_REDIRECT": True, "MIDDLEWARE": [OURS, SECURITY, LOCALE]}
IN_LANGUAGES = {
    "of-the-path": ({}, "/de/loc/3/", "/de/loc/<int:x>/", 301),
    "of-the-path, the default": ({}, "/en/loc/3/", "/en/loc/<int:x>/", 301),
    "of-none": ({}, "/u/3/", USER, 301),
    "missing": ({}, "/loc/3/", "<unmatched>", 301),
    "routed": ({"MIDDLEWARE": [OURS, LOCALE]}, "/de/loc/3/", "/de/loc/<int:x>/", 200),
    "after-locale": (
        {"MIDDLEWARE": [OURS, LOCALE, REFUSES]},
        "/de/loc/3/",
        "/de/loc/<int:x>/",
        401,
    ),
}


@SERVERS
@pytest.mark.parametrize("before", ["en", "de", None])
@pytest.mark.parametrize("case", IN_LANGUAGES.values(), ids=IN_LANGUAGES)
def test_the_language_is_the_request_s(server: str, before: str | None, case: Any) -> None:
    """Not that of the request before, which the thread keeps."""
    changes, path, route, status = case
    with Project(server, **{**REDIRECTS, **changes}) as project:
        with translation.override(before):
            assert project.fetch("GET", path).status == status
            if status == 301:
                assert translation.get_language() == before
        assert records(project.registry) == seen(route, status)


@SERVERS
@pytest.mark.parametrize("before", ["en", "de", None])
def test_a_translated_route_is_of_the_language_that_the_client_accepts(
    server: str, before: str | None
) -> None:
    """No prefix of a path tells it."""
    with Project(server, MIDDLEWARE=[OURS, LOCALE, REFUSES]) as project:
        with translation.override(before):
            project.fetch("GET", "/Montag", headers={"Accept-Language": "de"})
        assert records(project.registry) == seen("/Montag", 401)


@SERVERS
@pytest.mark.parametrize(
    ("path", "record"),
    [
        ("/u/3/", seen(USER)),
        ("/nope", seen("<unmatched>", 404)),
        ("/boom/", seen("/boom/", 500, "ValueError")),
        ("/st/", seen("/st/")),
        ("/loc/3/", seen("<unmatched>", 302)),
        ("/stboom/", [("GET", "/stboom/", 200, "ValueError", "error")]),
        ("/de/loc/3/", seen("/de/loc/<int:x>/")),
    ],
)
def test_an_outer_door_records_once_and_by_the_true_route(
    server: str, path: str, record: list[Any]
) -> None:
    with Project(server, OUTER[server]) as project:
        project.fetch("GET", path)
        assert records(project.registry) == record
        assert in_progress(project.registry) == 0


def test_an_outer_door_counts_the_body_once() -> None:
    with Project("wsgi", OUTER["wsgi"]) as project:
        assert project.fetch("POST", "/u/3/", b"x" * 4000).body == b"3 4000"
        samples = collected(project.registry)
        assert value(samples, "http_request_body_bytes_total") == 4000
        assert value(samples, "http_response_body_bytes_total") == len(b"3 4000")


def test_w50_django_below_a_dispatcher() -> None:
    dispatcher = pytest.importorskip(
        "werkzeug.middleware.dispatcher", reason="werkzeug is not installed"
    )

    def wrap(handler: Any, **options: Any) -> Any:
        mounted = dispatcher.DispatcherMiddleware(lambda *_: [], {"/pre": handler})
        return OUTER["wsgi"](mounted, **options)

    with Project("wsgi", wrap) as project:
        project.fetch("GET", "/pre/u/3/")
        assert records(project.registry) == seen(f"/pre{USER}")


def test_c3_django_s_wsgi_handler_inside_asgi() -> None:
    a2wsgi = pytest.importorskip("a2wsgi", reason="a2wsgi is not installed")
    httpx = pytest.importorskip("httpx", reason="httpx is not installed")
    with Project("wsgi") as project:
        app = OUTER["asgi"](a2wsgi.WSGIMiddleware(project.handler), registry=project.registry)

        async def fetch() -> int:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return (await client.get("/u/3/")).status_code  # type: ignore[no-any-return]

        assert asyncio.run(fetch()) == 200
        assert records(project.registry) == seen(USER)
        assert in_progress(project.registry) == 0


def scraped(project: Project, method: str = "GET", path: str = "/metrics") -> Answer:
    answer = project.fetch(method, path)
    assert answer.error is None
    assert "set-cookie" not in answer.headers
    assert "cookie" not in answer.headers.get("vary", "").lower()
    return answer


@SERVERS
@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
def test_metrics_path(server: str, path: str) -> None:
    with Project(server, MIDDLEWARE=[OURS, SESSION, AUTH, REFUSES]) as project:
        project.fetch("GET", "/u/3/")
        answer = scraped(project, path=path)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert value(series(answer.body.decode()), "http_requests_total", {"route": USER}) == 1
        assert records(project.registry) == seen(USER, 401)
        assert in_progress(project.registry) == 0


@SERVERS
def test_metrics_path_head_and_405(server: str) -> None:
    with Project(server) as project:
        head = scraped(project, "HEAD")
        assert (head.status, head.body) == (200, b"")
        for method in ("POST", "OPTIONS", "get"):
            refused = scraped(project, method)
            assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
        assert records(project.registry) == []


@SERVERS
def test_metrics_path_none(server: str) -> None:
    with Project(server, PROM_MIDDLEWARE={"metrics_path": None}) as project:
        assert project.fetch("GET", "/metrics").status in (301, 404)
        assert len(records(project.registry)) == 1


URLS = {
    "ROOT_URLCONF": "django_door.metrics_urls",
    "PROM_MIDDLEWARE": {"metrics_path": None},
    "MIDDLEWARE": [OURS, SESSION, AUTH],
}


@SERVERS
@pytest.mark.parametrize("path", ["/metrics", "/inner/metrics"])
@pytest.mark.parametrize("outer", [True, False])
def test_c5_urls_scrape_is_not_recorded(server: str, path: str, outer: bool) -> None:
    def door(handler: Any, **options: Any) -> Any:
        return OUTER[server](handler, metrics_path=None, **options)

    with Project(server, door if outer else None, **URLS) as project:
        project.fetch("GET", "/u/3/")
        for _ in range(2):
            answer = scraped(project, path=path)
            assert answer.status == 200
            text = series(answer.body.decode())
            assert value(text, "http_requests_total") == 1
            assert value(text, "http_requests_in_progress") == 0
        assert scraped(project, "HEAD", path).body == b""
        assert scraped(project, "POST", path).status == 405
        assert records(project.registry) == seen(USER)
        assert in_progress(project.registry) == 0


def test_urls_can_stand_behind_the_project_s_own_middleware() -> None:
    with Project("wsgi", **{**URLS, "MIDDLEWARE": [OURS, REFUSES]}) as project:
        assert project.fetch("GET", "/metrics").status == 401
        assert records(project.registry) == seen("/metrics", 401)


@SERVERS
def test_options_come_from_settings(server: str) -> None:
    facts: list[Any] = []
    options = {
        "metrics_path": "/internal/m",
        "exclude": ["/only/"],
        "labels": {"zone": "north", "tenant": lambda f: facts.append(f) or f.headers["x-tenant"]},
    }
    with Project(server, PROM_MIDDLEWARE=options) as project:
        assert project.fetch("GET", "/only/").body == b"only"
        project.fetch("GET", "/u/3/", headers={"X-Tenant": "acme"})
        wanted = {"zone": "north", "tenant": "acme", "route": USER}
        assert value(collected(project.registry), "http_requests_total", wanted) == 1
        assert records(project.registry) == seen(USER)
        assert scraped(project, path="/internal/m").status == 200
    [fact] = facts
    assert isinstance(fact.request, HttpRequest)
    assert (fact.path, fact.route, fact.status) == ("/u/3/", USER, "200")


@SERVERS
def test_labels_are_told_the_path_at_the_door(server: str) -> None:
    middleware = [OURS, "django_door.views.tenants"]
    labels = {"path": lambda facts: facts.path}
    with Project(server, MIDDLEWARE=middleware, PROM_MIDDLEWARE={"labels": labels}) as project:
        assert project.fetch("GET", "/acme/u/3/").status == 200
        wanted = {"path": "/acme/u/3/", "route": USER}
        assert value(collected(project.registry), "http_requests_total", wanted) == 1


@SERVERS
@pytest.mark.parametrize("header", ["X-Request-Start", "X-Queue-Start"])
def test_the_proxy_s_header_tells_the_queue(server: str, header: str) -> None:
    with Project(server) as project:
        project.fetch("GET", "/", headers={header: f"t={time.time() - 3:.3f}"})
        samples = collected(project.registry)
        assert value(samples, "http_request_queue_seconds_count") == 1
        assert value(samples, "http_request_queue_seconds_sum") >= 2


@pytest.mark.parametrize("options", [{"metrics_path": "no"}, {"metric_path": "/m"}])
def test_wrong_settings_raise_when_the_door_is_made(options: dict[str, Any]) -> None:
    with (
        pytest.raises(ConfigurationError, match="metric"),
        Project("wsgi", PROM_MIDDLEWARE=options),
    ):
        pass


def test_c6_two_registries_count_once_each() -> None:
    other = CollectorRegistry()

    def second(handler: Any, **_: Any) -> Any:
        return OUTER["wsgi"](handler, registry=other)

    with Project("wsgi", second) as project:
        project.fetch("GET", "/boom/")
        assert records(project.registry) == seen("/boom/", 500, "ValueError")
        [(_, _, status, _, outcome)] = records(other)
        assert (status, outcome) == (500, "complete")


@SERVERS
def test_two_handlers_of_one_project(server: str) -> None:
    with Project(server) as project:
        project.fetch("GET", "/u/3/")
        project.handler = HANDLERS[server]()
        project.fetch("GET", "/u/3/")
        assert records(project.registry) == seen(USER) * 2


def test_gzip_inside_is_counted_as_it_is_sent() -> None:
    with Project("wsgi", MIDDLEWARE=[OURS, GZIP]) as project:
        answer = project.fetch("GET", "/fr/", headers={"Accept-Encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        sent = value(collected(project.registry), "http_response_body_bytes_total")
        assert sent == len(answer.body)


@pytest.mark.parametrize("path", ["/u/3/", "/st/", "/nope"])
def test_django_s_own_test_clients(path: str) -> None:
    with Project("wsgi") as project:
        response: Any = Client().get(path)
        response.getvalue()
        response.close()
        assert len(records(project.registry)) == 1
        assert in_progress(project.registry) == 0
    with Project("asgi") as project:

        async def fetch() -> None:
            await AsyncClient().get(path)

        asyncio.run(fetch())
        assert sum(value(collected(project.registry), name) for name in STARTED) == 1


STARTED = ("http_requests_total", "http_requests_in_progress")


def test_the_middleware_alone() -> None:
    registry = CollectorRegistry()
    door = PrometheusMiddleware(lambda request: HttpResponse("bare"), registry=registry)
    response = door(RequestFactory().get("/u/3/"))
    response.close()
    assert records(registry) == seen(USER)


def test_a_request_of_no_handler_passes() -> None:
    door = PrometheusMiddleware(lambda request: HttpResponse("bare"), registry=CollectorRegistry())
    assert door(HttpRequest()).content == b"bare"


def test_an_asynchronous_chain_stays_asynchronous() -> None:
    async def get_response(request: HttpRequest) -> HttpResponse:
        return HttpResponse("bare")

    registry = CollectorRegistry()
    door = PrometheusMiddleware(get_response, registry=registry)
    from asgiref.sync import iscoroutinefunction

    assert iscoroutinefunction(door)
    assert door.sync_capable
    assert door.async_capable
    response = asyncio.run(door(RequestFactory().get("/u/3/")))
    response.close()
    assert records(registry) == seen(USER)
