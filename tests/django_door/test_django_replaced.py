"""Responses that middleware further out replaces, and those that a server cannot send."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client

from django_door.project import Project
from django_door.settings import OURS
from metrics import in_progress, records

COMMON = "django.middleware.common.CommonMiddleware"
REPLACING = f"{__name__}.replacing"
REPLACING_AS_A_TASK = f"{__name__}.replacing_as_a_task"
SERVERS = pytest.mark.parametrize("server", ["wsgi", "asgi"])
# The page of a 404 that was raised has its traceback, which holds it.
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]


def replacing(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        get_response(request)
        return HttpResponse("another", status=418)

    return middleware


def replacing_as_a_task(get_response: Any) -> Any:
    async def middleware(request: HttpRequest) -> HttpResponse:
        await get_response(request)
        return HttpResponse("another", status=418)

    return middleware


replacing_as_a_task.sync_capable = False  # type: ignore[attr-defined]
replacing_as_a_task.async_capable = True  # type: ignore[attr-defined]


def streaming(get_response: Any) -> Any:
    return lambda request: StreamingHttpResponse([b"abc"], headers={"Content-Length": "3"})


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@SERVERS
@pytest.mark.parametrize("replacing", [REPLACING, REPLACING_AS_A_TASK], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/u/3/", "/u/<int:id>/"),
        ("/a/3/", "/a/<int:id>/"),
        ("/st/", "/st/"),
        ("/ast/", "/ast/"),
        ("/mfr/", "/mfr/"),
    ],
)
def test_what_is_replaced_ends_with_the_request(
    server: str, replacing: str, path: str, route: str
) -> None:
    with Project(server, MIDDLEWARE=[replacing, OURS]) as project:
        for number in (1, 2):
            answer = project.fetch("GET", path)
            assert (answer.status, answer.body) == (418, b"another")
            assert records(project.registry) == [("GET", route, 200, "", "complete")] * number
            assert in_progress(project.registry) == 0


@SERVERS
def test_a_redirect_for_a_slash_ends_with_the_request(server: str) -> None:
    """Django's page of a 404 is in a cycle with what was raised."""
    with Project(server, MIDDLEWARE=[COMMON, OURS], TEMPLATES=TEMPLATES) as project:
        assert project.fetch("GET", "/u/3").status == 301
        assert records(project.registry) == [("GET", "<unmatched>", 404, "", "complete")]
        assert in_progress(project.registry) == 0


@SERVERS
def test_the_same_by_a_test_s_client(server: str) -> None:
    with Project(server, MIDDLEWARE=[COMMON, OURS], TEMPLATES=TEMPLATES) as project:
        answer = Client().get("/u/3") if server == "wsgi" else asyncio.run(_get("/u/3"))
        assert answer.status_code == 301
        assert records(project.registry) == [("GET", "<unmatched>", 404, "", "complete")]
        assert in_progress(project.registry) == 0


async def _get(path: str) -> Any:
    return await AsyncClient().get(path)


def test_a_view_that_asks_another_one_by_a_test_s_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends with the inner request is not the outer one."""
    seen: list[float] = []

    def asking(request: HttpRequest, id: int) -> HttpResponse:  # noqa: A002
        Client().get("/u/3")
        seen.append(in_progress(project.registry))
        return HttpResponse(b"x" * id)

    from django_door import urls

    [pattern] = [one for one in urls.urlpatterns if str(one.pattern) == "a/<int:id>/"]
    monkeypatch.setattr(pattern, "callback", asking)
    with Project("wsgi", MIDDLEWARE=[COMMON, OURS], TEMPLATES=TEMPLATES) as project:
        project.fetch("GET", "/a/5/")
        assert seen == [1]
        assert records(project.registry) == [
            ("GET", "/a/<int:id>/", 200, "", "complete"),
            ("GET", "<unmatched>", 404, "", "complete"),
        ]
        assert in_progress(project.registry) == 0


@pytest.mark.parametrize("chain", [[OURS], [COMMON, OURS]], ids=["outermost", "further-in"])
@pytest.mark.parametrize("path", ["/u/3/", "/st/", "/fr/"])
def test_what_the_server_cannot_send_the_client_has_not(path: str, chain: list[str]) -> None:
    """The last piece as well: the server closes the response with what its socket raised."""

    def broken() -> None:
        raise BrokenPipeError

    with Project("wsgi", MIDDLEWARE=chain) as project:
        assert isinstance(project.fetch("GET", path, on_piece=broken).error, BrokenPipeError)
        [(_, _, status, exception, outcome)] = records(project.registry)
        assert (status, exception, outcome) == (200, "", "disconnect")
        assert in_progress(project.registry) == 0


def test_a_stream_with_a_length_that_is_not_sent() -> None:
    def broken() -> None:
        raise ConnectionResetError

    with Project("wsgi", MIDDLEWARE=[OURS, f"{__name__}.streaming"]) as project:
        project.fetch("GET", "/u/3/", on_piece=broken)
        assert records(project.registry) == [("GET", "/u/<int:id>/", 200, "", "disconnect")]
