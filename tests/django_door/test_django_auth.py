"""Django's sessions, users, CSRF and security, /metrics before and behind them.

Each server's project is a process of its own, with a copy of one database in a file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
import pytest

from django_door import programs
from django_door.auth_project import LOGIN_REQUIRED, MIDDLEWARE
from metrics import series, value

SERVERS = pytest.mark.parametrize("server", ["wsgi", "asgi"])
HAS_LOGIN_REQUIRED = django.VERSION >= (5, 1)
ORDER, BARE, API, STAFF = (
    "/orders/<int:id>/",
    "/bare/<int:id>/",
    "/api/<int:id>/",
    "/staff/users/<int:id>/",
)
TOKEN = "t" * 32
NOBODY: tuple[Any, ...] = ("", {})
SCRAPES = ("/metrics", "/metrics/")
PROGRAM = "from django_door.auth_project import main; main()"
Serve = Callable[..., list[dict[str, Any]]]


def databases(file: Path) -> dict[str, Any]:
    return {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}}


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a database, and a session's cookie for each of its users."""
    file = tmp_path_factory.mktemp("users") / "db.sqlite3"
    return file, programs.run(PROGRAM, {"settings": {"DATABASES": databases(file)}})


@pytest.fixture
def serve(users: tuple[Path, dict[str, str]], server: str, tmp_path: Path) -> Serve:
    """Serve requests, (method, path, user, headers) each, one after the other."""
    database, cookies = users

    def serve(requests: list[Any], **settings: Any) -> list[dict[str, Any]]:
        copy = databases(Path(shutil.copy(database, tmp_path)))
        told = {
            "server": server,
            "requests": [[*request, *NOBODY[len(request) - 2 :]] for request in requests],
            "settings": {"DATABASES": copy, **settings},
            "cookies": cookies,
        }
        answers: list[dict[str, Any]] = programs.run(PROGRAM, told)
        assert len(answers) == len(requests)
        return answers

    return serve


def check(answer: dict[str, Any], method: str, route: str, status: int) -> None:
    assert answer["status"] == status
    assert answer["records"] == [[method, route, status, "", "complete"]]
    assert answer["in_progress"] == 0


def check_scrape(answer: dict[str, Any], recorded: int | None = None) -> None:
    """A scrape was answered and not recorded."""
    assert answer["status"] == 200
    assert answer["headers"]["content-type"].startswith("text/plain; version=0.0.4")
    assert answer["records"] == []
    assert answer["in_progress"] == 0
    if recorded is not None:
        assert value(series(answer["body"]), "http_requests_total") == recorded


def check_no_session(answer: dict[str, Any]) -> None:
    assert "set-cookie" not in answer["headers"]
    assert answer["headers"]["vary"] == "Accept, Accept-Encoding"


CSRF = {"cookie": f"csrftoken={TOKEN}", "x-csrftoken": TOKEN}
CASES: list[tuple[tuple[Any, ...], str, int]] = [
    (("GET", "/orders/3/"), ORDER, 302),
    (("GET", "/orders/3/", "broken"), ORDER, 302),
    (("GET", "/orders/3/", "joe"), ORDER, 200),
    (("GET", "/staff/users/3/", "joe"), STAFF, 403),
    (("GET", "/staff/users/3/", "root"), STAFF, 200),
    (("GET", "/api/3/"), API, 401),
    (("GET", "/visits/"), "/visits/", 200),
    (("POST", "/orders/3/", "joe"), ORDER, 403),
    (("POST", "/orders/3/", "joe", CSRF), ORDER, 200),
    (("POST", "/orders/3/", "", CSRF), ORDER, 302),
    (("GET", "/public/", "", {"host": "elsewhere"}), "/public/", 400),
    (("GET", "/nope/", "joe"), "<unmatched>", 404),
]


@SERVERS
def test_answers_have_their_route(serve: Serve) -> None:
    answers = serve([case[0] for case in CASES])
    for (request, route, status), answer in zip(CASES, answers, strict=True):
        check(answer, request[0], route, status)


@pytest.mark.skipif(not HAS_LOGIN_REQUIRED, reason="LoginRequiredMiddleware is new in Django 5.1")
@SERVERS
def test_login_required_middleware(serve: Serve) -> None:
    cases: list[tuple[tuple[Any, ...], str, int]] = [
        (("GET", "/bare/3/"), BARE, 302),
        (("GET", "/bare/3/", "joe"), BARE, 200),
        (("GET", "/public/"), "/public/", 200),
        (("GET", "/nope/"), "<unmatched>", 404),
        (("POST", "/bare/3/"), BARE, 403),
    ]
    requests = [case[0] for case in cases]
    scrapes = [("GET", path, user) for path in SCRAPES for user in ("", "joe")]
    answers = serve(requests + scrapes, MIDDLEWARE=[*MIDDLEWARE, LOGIN_REQUIRED])
    for (request, route, status), answer in zip(cases, answers, strict=False):
        check(answer, request[0], route, status)
    for answer in answers[len(cases) :]:
        check_scrape(answer, len(cases))
        check_no_session(answer)


@pytest.mark.skipif(not HAS_LOGIN_REQUIRED, reason="LoginRequiredMiddleware is new in Django 5.1")
@SERVERS
def test_metrics_behind_login_required_middleware(serve: Serve) -> None:
    refused, scrape = serve(
        [("GET", "/metrics"), ("GET", "/metrics", "joe")],
        MIDDLEWARE=[*MIDDLEWARE, LOGIN_REQUIRED],
        PROM_MIDDLEWARE={"metrics_path": None},
    )
    check(refused, "GET", "/metrics", 302)
    assert refused["headers"]["location"].startswith("/log-in/")
    check_scrape(scrape, 1)


@SERVERS
def test_metrics_outside(serve: Serve) -> None:
    """Sessions that are saved with every request are not even looked at."""
    requests: list[Any] = [("GET", "/visits/", "joe")]
    hosts: list[dict[str, str]] = [{}, {"host": "elsewhere"}]
    for path in SCRAPES:
        requests += [("GET", path, user, h) for user in ("", "joe", "broken") for h in hosts]
    page, *scrapes = serve(
        requests,
        SESSION_SAVE_EVERY_REQUEST=True,
        SECURE_SSL_REDIRECT=False,
    )
    assert {"set-cookie", "vary"} <= set(page["headers"])
    for scrape in scrapes:
        check_scrape(scrape, 1)
        check_no_session(scrape)
        assert scrape["sessions"] == page["sessions"]


@SERVERS
def test_security_does_not_stop_a_scrape(serve: Serve) -> None:
    redirected, *scrapes = serve(
        [("GET", "/orders/3/"), *(("GET", path) for path in SCRAPES)],
        SECURE_SSL_REDIRECT=True,
        SECURE_HSTS_SECONDS=60,
        ALLOWED_HOSTS=["testserver"],
    )
    check(redirected, "GET", ORDER, 301)
    for scrape in scrapes:
        check_scrape(scrape, 1)
        check_no_session(scrape)
        assert "strict-transport-security" not in scrape["headers"]


INSIDE: dict[str, tuple[str, str, int]] = {
    "login_required": ("/guarded/metrics", "joe", 302),
    "permission_required": ("/superuser/metrics", "root", 403),
}


@SERVERS
def test_metrics_inside(serve: Serve) -> None:
    requests: list[Any] = []
    for path, user, _ in INSIDE.values():
        requests += [("GET", path), ("GET", path, user), ("HEAD", path, user)]
    answers = serve(requests, PROM_MIDDLEWARE={"metrics_path": None})
    for index, (path, _, status) in enumerate(INSIDE.values()):
        refused, scrape, head = answers[3 * index : 3 * index + 3]
        check(refused, "GET", path, status)
        assert "http_requests" not in refused["body"]
        check_scrape(scrape, index + 1)
        check_scrape(head)
        assert head["body"] == ""


@SERVERS
def test_metrics_behind_the_security_middleware(serve: Serve) -> None:
    """The door can stand where it is told to, and then it answers what comes that far."""
    ours = "prom_middleware.django.PrometheusMiddleware"
    security, *others = MIDDLEWARE
    secure = {"x-forwarded-proto": "https"}
    redirected, scrape = serve(
        [("GET", "/metrics"), ("GET", "/metrics", "", secure)],
        MIDDLEWARE=[security, ours, *others],
        SECURE_SSL_REDIRECT=True,
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    )
    assert (redirected["status"], redirected["records"]) == (301, [])
    check_scrape(scrape)
    check_no_session(scrape)
