"""The agreed rows for Django, on both of its handlers, and others that the same rules imply."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NamedTuple
from wsgiref.util import FileWrapper

import django
import pytest
from django.http import HttpRequest

from django_door import views
from django_door.project import Project
from django_door.settings import OURS
from django_door.views import FILE
from metrics import collected, in_progress, records, value
from prom_middleware import instrument
from prom_middleware.asgi import PrometheusMiddleware as ASGIDoor
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import run
from wsgi_door.driver import call, environ

pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")

USER = "/u/<int:id>/"
NONE = "<unmatched>"
ERROR = {"reason": "error"}


class Row(NamedTuple):
    """A situation, with the numbers of its rows for WSGI and ASGI."""

    wsgi: str
    asgi: str
    method: str
    path: str
    route: str
    status: int
    exception: str = ""
    outcome: str = "complete"


BROKEN = ("ValueError", "error")
ROWS = [
    Row("D01", "D25", "GET", "/", "/", 200),
    Row("D02", "D26", "GET", "/u/3/", USER, 200),
    Row("D03", "D27", "HEAD", "/u/3/", USER, 200),
    Row("D04", "D28", "FOO", "/u/3/", USER, 200),
    Row("D05", "D29", "GET", "/a/3/", "/a/<int:id>/", 200),
    Row("D06", "D30", "POST", "/only/", "/only/", 405),
    Row("D07", "D31", "GET", "/nope", NONE, 404),
    Row("D08", "D32", "GET", "/h404/", "/h404/", 404),
    Row("D09", "D33", "GET", "/boom/", "/boom/", 500, "ValueError"),
    Row("D09-async", "D33-async", "GET", "/aboom/", "/aboom/", 500, "ValueError"),
    Row("D10", "D34", "GET", "/inc/t/c/x/", "/inc/<str:tenant>/c/<slug:s>/", 200),
    Row("D11", "D35", "GET", "/inc/t/d/1999/", "/inc/<str:tenant>/d/<y>/", 200),
    Row("D12", "D36", "GET", "/re/12/", r"/re/(\d+)/", 200),
    Row("D13-opt", "D37-opt", "GET", "/opt/1999/2/", "/opt/<year>(?:/<page>)?/", 200),
    Row("D13-not", "D37-not", "GET", "/not/a/", "/not/<rest>/", 200),
    Row("D13-miss", "D37-miss", "GET", "/inc/t/d/99/", NONE, 404),
    Row("D14", "D38", "GET", "/st/", "/st/", 200),
    Row("D15", "D39", "GET", "/stboom/", "/stboom/", 200, *BROKEN),
    Row("D16", "D40", "GET", "/ast/", "/ast/", 200),
    Row("D17-events", "D41-events", "GET", "/events/", "/events/", 200),
    Row("", "D41-async-break", "GET", "/astboom/", "/astboom/", 200, *BROKEN),
    # An asynchronous iterator is read whole before WSGI gets its first piece.
    Row("D17-async-break", "", "GET", "/astboom/", "/astboom/", 500, *BROKEN),
    Row("D18", "D42", "GET", "/fr/", "/fr/", 200),
    Row("D18-memory", "D42-memory", "GET", "/mfr/", "/mfr/", 200),
    Row("D19", "D43", "GET", "/u/3", NONE, 301),
    Row("D20", "D44", "GET", "/de/loc/3/", "/de/loc/<int:x>/", 200),
    Row("D21", "D45", "GET", "/loc/3/", NONE, 302),
    Row("D22", "D46", "GET", "/u/3/?mwboom", NONE, 500, "KeyError"),
    Row("D23", "", "GET", "/exit/", "/exit/", 500, "SystemExit", "error"),
    Row("long-path", "long-path", "GET", "/" + "a" * 65536, NONE, 404),
    Row("lower-case", "lower-case", "get", "/u/3/", USER, 200),
    Row("options", "options", "OPTIONS", "/only/", "/only/", 405),
]


def numbered(server: str) -> list[Any]:
    return [
        pytest.param(server, row, id=f"{getattr(row, server)}-{server}")
        for row in ROWS
        if getattr(row, server)
    ]


def expected(row: Row) -> tuple[str, str, int, str, str]:
    method = "_OTHER" if row.method in ("FOO", "get") else row.method
    return method, row.route, row.status, row.exception, row.outcome


@pytest.mark.parametrize(("server", "row"), numbered("wsgi") + numbered("asgi"))
def test_row(server: str, row: Row) -> None:
    with Project(server) as project:
        answer = project.fetch(row.method, row.path)
        assert records(project.registry) == [expected(row)]
        assert in_progress(project.registry) == 0
        assert answer.status == row.status


@pytest.mark.parametrize("server", ["wsgi", "asgi"])
@pytest.mark.parametrize("path", ["/st/", "/ast/", "/fr/", "/mfr/", "/u/3/"])
def test_bytes_out(server: str, path: str) -> None:
    with Project(server) as project:
        answer = project.fetch("GET", path)
        assert answer.body in (b"onetwo", FILE, b"3 0")
        sent = value(collected(project.registry), "http_response_body_bytes_total")
        assert sent == len(answer.body)


@pytest.mark.parametrize(
    ("server", "path"),
    [("wsgi", "/stboom/"), ("wsgi", "/astboom/"), ("asgi", "/stboom/"), ("asgi", "/astboom/")],
)
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_bytes_out_of_a_stream_that_breaks(server: str, path: str) -> None:
    with Project(server) as project:
        answer = project.fetch("GET", path)
        # A handler reads a stream of the other kind whole, before it sends any of it.
        assert answer.body == (b"one" if (server == "asgi") == (path == "/astboom/") else b"")
        sent = value(collected(project.registry), "http_response_body_bytes_total")
        assert sent == len(answer.body)


@pytest.mark.parametrize("server", ["wsgi", "asgi"])
def test_no_bytes_of_a_head_are_sent(server: str) -> None:
    with Project(server) as project:
        project.fetch("HEAD", "/fr/")
        assert records(project.registry) == [("HEAD", "/fr/", 200, "", "complete")]
        assert value(collected(project.registry), "http_response_body_bytes_total") == 0


FORM = {"content-type": "application/x-www-form-urlencoded"}
BODIES = {
    "body": ("/u/3/", b"x" * 4000, {}, b"3 4000"),
    "form": ("/post/", b"field=" + b"x" * 3994, FORM, b"3994"),
    "lines": ("/lines/", b"a line\n" * 571 + b"end", {}, b"4000"),
}


@pytest.mark.parametrize("server", ["wsgi", "asgi"])
@pytest.mark.parametrize(("path", "body", "headers", "answered"), BODIES.values(), ids=BODIES)
def test_bytes_in(
    server: str, path: str, body: bytes, headers: dict[str, str], answered: bytes
) -> None:
    with Project(server) as project:
        assert project.fetch("POST", path, body, headers).body == answered
        assert value(collected(project.registry), "http_request_body_bytes_total") == 4000


def test_wsgi_bytes_that_were_not_read_are_not_counted() -> None:
    with Project("wsgi") as project:
        assert project.fetch("POST", "/unread/", b"x" * 4000).body == b"not read"
        assert value(collected(project.registry), "http_request_body_bytes_total") == 0


@pytest.mark.parametrize("server", ["wsgi", "asgi"])
def test_a_malformed_content_length_is_harmless(server: str) -> None:
    headers = {"content-length": "nonsense"}
    with Project(server) as project:
        assert project.fetch("POST", "/unread/", headers=headers).body == b"not read"
        assert records(project.registry) == [("POST", "/unread/", 200, "", "complete")]


def test_an_event_stream_is_not_a_latency() -> None:
    with Project("asgi") as project:
        project.fetch("GET", "/events/")
        samples = collected(project.registry)
        assert value(samples, "http_stream_duration_seconds_count", {"route": "/events/"}) == 1
        assert value(samples, "http_request_duration_seconds_count") == 0


def test_an_event_stream_of_which_nothing_was_sent_is_an_answer_as_others() -> None:
    with Project("wsgi") as project:
        assert project.fetch("GET", "/eventsboom/").status == 500
        samples = collected(project.registry)
        assert value(samples, "http_request_duration_seconds_count", {"status": "500"}) == 1
        assert value(samples, "http_stream_duration_seconds_count") == 0


@pytest.mark.parametrize("path", ["/st/", "/fr/"])
def test_d24_wsgi_client_leaves_midway(path: str) -> None:
    with Project("wsgi") as project:
        project.fetch("GET", path, leave_after=1)
        assert records(project.registry) == [("GET", path, 200, "", "disconnect")]
        assert in_progress(project.registry) == 0


def test_wsgi_head_that_the_server_does_not_iterate() -> None:
    with Project("wsgi") as project:
        project.fetch("HEAD", "/st/", iterate=False)
        assert records(project.registry) == [("HEAD", "/st/", 200, "", "complete")]


def test_in_progress_during_a_stream() -> None:
    during: list[float] = []
    with Project("wsgi") as project:
        project.fetch("GET", "/st/", on_piece=lambda: during.append(in_progress(project.registry)))
    assert during == [1, 1]


def closing(following: Callable[[HttpRequest], Any]) -> Any:
    def middleware(request: HttpRequest) -> Any:
        response = following(request)
        response._resource_closers.append(request.environ["closing"])
        return response

    return middleware


@pytest.mark.parametrize("path", ["/st/", "/u/3/"])
def test_what_others_do_when_a_response_is_closed_is_part_of_the_request(path: str) -> None:
    during: list[float] = []
    with Project("wsgi", MIDDLEWARE=[OURS, f"{__name__}.closing"]) as project:
        closed = {"closing": lambda: during.append(in_progress(project.registry))}
        call(project.handler, environ(path=path, **closed))
        assert in_progress(project.registry) == 0
    assert during == [1]


@pytest.mark.parametrize("path", ["/u/3/", "/st/", "/fr/"])
def test_a_worker_that_dies_leaves_the_request_that_it_has_begun_to_answer(
    shared: MultiprocessStore, path: str
) -> None:
    def serve(handler: Any) -> None:
        body = handler(environ(path=path, **{"wsgi.file_wrapper": FileWrapper}), lambda *_: None)
        next(iter(body))
        os.kill(os.getpid(), signal.SIGKILL)

    with Project("wsgi") as project:
        assert run(lambda: serve(project.handler)) == -signal.SIGKILL
        assert value(collected(project.registry), "http_requests_total", {"status": "200"}) == 1


def promising(following: Callable[[HttpRequest], Any]) -> Any:
    def middleware(request: HttpRequest) -> Any:
        response = following(request)
        response["Content-Length"] = "6"
        return response

    return middleware


@pytest.mark.parametrize(("pieces", "outcome"), [(1, "disconnect"), (2, "complete")])
def test_a_server_that_knows_the_length_need_not_look_for_the_end(
    pieces: int, outcome: str
) -> None:
    with Project("wsgi", MIDDLEWARE=[OURS, f"{__name__}.promising"]) as project:
        project.fetch("GET", "/st/", leave_after=pieces)
        assert records(project.registry) == [("GET", "/st/", 200, "", outcome)]


@pytest.mark.parametrize(("path", "size"), [("/fr/", len(FILE)), ("/mfr/", len(FILE))])
def test_file_response_keeps_sendfile(path: str, size: int) -> None:
    with Project("wsgi") as project:
        request = environ(path=path, **{"wsgi.file_wrapper": FileWrapper})
        body = project.handler(request, lambda *_: None)
        assert type(body) is FileWrapper
        assert in_progress(project.registry) == 1
        if path == "/mfr/":  # which no sendfile can send
            assert len(b"".join(body)) == size
        body.close()
        assert records(project.registry) == [("GET", path, 200, "", "complete")]
        assert value(collected(project.registry), "http_response_body_bytes_total") == size
        assert in_progress(project.registry) == 0


@pytest.mark.parametrize("path", ["/fr/", "/mfr/"])
@pytest.mark.parametrize(
    ("pieces", "outcome"), [(1, "disconnect"), (2, "disconnect"), (-1, "complete")]
)
def test_a_file_that_the_server_sends_tells_how_much(path: str, pieces: int, outcome: str) -> None:
    with Project("wsgi") as project:
        sent = 0
        body = project.handler(
            environ(path=path, **{"wsgi.file_wrapper": FileWrapper}), lambda *_: None
        )
        while pieces and (piece := body.filelike.read(4096)):
            sent, pieces = sent + len(piece), pieces - 1
        body.close()
        body.close()
        assert records(project.registry) == [("GET", path, 200, "", outcome)]
        assert value(collected(project.registry), "http_response_body_bytes_total") == sent
        assert in_progress(project.registry) == 0


def test_a_file_that_the_server_sends_is_closed_once_by_who_opened_it() -> None:
    closed: list[bool] = []

    class Watched(io.BytesIO):
        def close(self) -> None:
            closed.append(self.closed)
            super().close()

    with Project("wsgi", MIDDLEWARE=[OURS, "django_door.views.replaced_by_file"]) as project:
        views.REPLACEMENT = Watched(b"12345")
        request = environ(path="/", **{"wsgi.file_wrapper": FileWrapper})
        body = project.handler(request, lambda *_: None)
        assert b"".join(body) == b"12345"
        body.close()
    assert closed == [False]
    assert records(project.registry) == [("GET", "/", 200, "", "complete")]


def test_a_file_that_the_server_drops_is_recorded() -> None:
    with Project("wsgi") as project:
        request = environ(path="/mfr/", **{"wsgi.file_wrapper": FileWrapper})
        body = project.handler(request, lambda *_: None)
        del body, request
        gc.collect()
        assert in_progress(project.registry) == 0


cancels = pytest.mark.skipif(
    django.VERSION < (5, 0), reason="Django 4.2 does not notice that its client is gone"
)
tells = pytest.mark.skipif(
    sys.version_info < (3, 11) or django.VERSION >= (6, 1),
    reason="a task tells on Python 3.11 and newer, and before Django 6.1, which takes it back",
)


@cancels
@pytest.mark.parametrize("wrap", [None, instrument, ASGIDoor])
def test_d47_asgi_disconnect_before_the_response(wrap: Any) -> None:
    with Project("asgi", wrap) as project:
        project.fetch("GET", "/aslow/", leaves="waiting")
        assert records(project.registry) == [
            ("GET", "/aslow/", 499, "CancelledError", "disconnect")
        ]
        assert in_progress(project.registry) == 0


@cancels
@pytest.mark.parametrize("wrap", [None, instrument, ASGIDoor])
def test_d48_asgi_disconnect_midway(wrap: Any) -> None:
    with Project("asgi", wrap) as project:
        answer = project.fetch("GET", "/aslowst/", leaves="waiting")
        assert answer.body == b"one"
        assert records(project.registry) == [
            ("GET", "/aslowst/", 200, "CancelledError", "disconnect")
        ]
        assert in_progress(project.registry) == 0


@cancels
@tells
@pytest.mark.parametrize("path", ["/u/3/", "/st/", "/ast/", "/fr/"])
def test_asgi_client_that_leaves_what_is_sent_slowly(path: str) -> None:
    """Django goes on as if all were well: it closes the response."""
    with Project("asgi", MIDDLEWARE=[OURS]) as project:
        project.fetch("GET", path, leaves="body")
        route = path.replace("3", "<int:id>")
        assert records(project.registry) == [("GET", route, 200, "", "disconnect")]
        assert in_progress(project.registry) == 0


@cancels
@tells
def test_asgi_client_that_leaves_before_a_synchronous_stream_was_read() -> None:
    """Django reads it whole, and then sends none of it."""
    with Project("asgi", MIDDLEWARE=[OURS]) as project:
        answer = project.fetch("GET", "/slowst/", leaves="waiting")
        assert answer.body == b""
        assert records(project.registry) == [("GET", "/slowst/", 200, "", "disconnect")]
        assert value(collected(project.registry), "http_response_body_bytes_total") == 0
        assert in_progress(project.registry) == 0


@cancels
def test_who_leaves_with_an_answer_to_head_has_all_of_it() -> None:
    with Project("asgi") as project:
        for path in ("/aslow/", "/aslowst/"):
            project.fetch("HEAD", path, leaves="waiting")
        assert records(project.registry) == [
            ("HEAD", "/aslow/", 499, "CancelledError", "disconnect"),
            ("HEAD", "/aslowst/", 200, "CancelledError", "complete"),
        ]
        assert in_progress(project.registry) == 0


@cancels
@pytest.mark.parametrize(("length", "outcome"), [("3", "complete"), ("4", "disconnect")])
def test_who_leaves_with_as_much_as_the_length_says_has_all_of_it(
    length: str, outcome: str
) -> None:
    with Project("asgi") as project:
        project.fetch("GET", f"/aslowst/?length={length}", leaves="waiting")
        assert records(project.registry) == [("GET", "/aslowst/", 200, "CancelledError", outcome)]


@cancels
@tells
@pytest.mark.parametrize("leaves", ["sending", "body"])
def test_what_was_to_be_sent_last_is_not_sent(leaves: str) -> None:
    with Project("asgi", MIDDLEWARE=[OURS]) as project:
        project.fetch("GET", "/aslowst/?length=3", leaves=leaves)
        assert [record[4] for record in records(project.registry)] == ["disconnect"]


@pytest.mark.parametrize("path", ["/st/", "/ast/"])
def test_a_stream_that_could_not_be_sent_to_head(path: str) -> None:
    with Project("asgi") as project:
        answer = project.fetch("HEAD", path, leaves="sending")
        assert isinstance(answer.error, OSError)
        assert [record[2:] for record in records(project.registry)] == [(200, "", "complete")]
        assert in_progress(project.registry) == 0


@pytest.mark.parametrize("path", ["/st/", "/ast/", "/u/3/"])
def test_d48_asgi_server_whose_send_raises(path: str) -> None:
    """Django closes no response that it could not send."""
    with Project("asgi") as project:
        answer = project.fetch("GET", path, leaves="sending")
        assert isinstance(answer.error, OSError)
        assert in_progress(project.registry) == 0
        [(_, route, status, _, outcome)] = records(project.registry)
        assert (route, status, outcome) == (path.replace("3", "<int:id>"), 200, "disconnect")


def test_d49_asgi_disconnect_before_the_body_never_runs_the_middleware() -> None:
    with Project("asgi") as project:
        project.fetch("GET", "/u/3/", leaves="at-once")
        assert records(project.registry) == []
        assert in_progress(project.registry) == 0


def test_c2_an_outer_asgi_door_records_what_django_never_saw() -> None:
    with Project("asgi", ASGIDoor) as project:
        project.fetch("GET", "/u/3/", leaves="at-once")
        [(method, _, status, exception, outcome)] = records(project.registry)
        assert (method, status, exception, outcome) == ("GET", 499, "", "disconnect")
        assert in_progress(project.registry) == 0


def test_c9_asgi_server_that_ends_midway() -> None:
    with Project("asgi") as project:
        answer = project.fetch("GET", "/aslowst/", leaves="shutdown")
        assert isinstance(answer.error, asyncio.CancelledError)
        [(_, route, status, _, outcome)] = records(project.registry)
        assert (route, status) == ("/aslowst/", 200)
        assert outcome in ("error", "disconnect")
        assert in_progress(project.registry) == 0


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a task does not tell before Python 3.11")
@pytest.mark.parametrize(
    ("path", "status"), [("/acancelled/", 500), ("/acancelledst/", 200)], ids=["view", "stream"]
)
def test_a_view_s_own_task_that_is_cancelled_is_no_disconnect(path: str, status: int) -> None:
    with Project("asgi", MIDDLEWARE=[OURS]) as project:
        project.fetch("GET", path)
        assert records(project.registry) == [("GET", path, status, "CancelledError", "error")]
        assert value(collected(project.registry), "http_responses_aborted_total", ERROR) == 1
        assert in_progress(project.registry) == 0


def test_what_is_cancelled_under_wsgi_is_no_disconnect() -> None:
    with Project("wsgi", MIDDLEWARE=[OURS]) as project:
        project.fetch("GET", "/acancelled/")
        assert records(project.registry) == [
            ("GET", "/acancelled/", 500, "CancelledError", "error")
        ]


CONDITIONAL = "django.middleware.http.ConditionalGetMiddleware"


@tells
@pytest.mark.parametrize("server", ["wsgi", "asgi"])
def test_a_response_that_another_takes_the_place_of_was_left_by_nobody(server: str) -> None:
    """Which status it has, a middleware further in cannot know."""
    path, route = "/a/3/", "/a/<int:id>/"
    with Project(server, MIDDLEWARE=[CONDITIONAL, OURS]) as project:
        answer = project.fetch("GET", path, headers={"If-None-Match": "*"})
        assert (answer.status, answer.body) == (304, b"")
        assert records(project.registry) == [("GET", route, 200, "", "complete")]
        assert in_progress(project.registry) == 0
