"""Django's sessions, users, CSRF and security, /metrics before and behind them.

Each server's project is a process of its own, with a database in a file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import django
import pytest

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


def serve(
    server: str, requests: list[Any], directory: Path, **settings: Any
) -> list[dict[str, Any]]:
    """Serve `requests`, (method, path, user, headers) each, one after the other."""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(directory / "db.sqlite3")}
    told = {
        "server": server,
        "requests": [[*request, *NOBODY[len(request) - 2 :]] for request in requests],
        "settings": {"DATABASES": {"default": database}, **settings},
    }
    done = subprocess.run(
        [sys.executable, "-m", "django_door.auth_project"],
        input=json.dumps(told),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    assert len(answers) == len(requests)
    return answers


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
def test_answers_have_their_route(server: str, tmp_path: Path) -> None:
    answers = serve(server, [case[0] for case in CASES], tmp_path)
    for (request, route, status), answer in zip(CASES, answers, strict=True):
        check(answer, request[0], route, status)


@pytest.mark.skipif(not HAS_LOGIN_REQUIRED, reason="LoginRequiredMiddleware is new in Django 5.1")
@SERVERS
def test_login_required_middleware(server: str, tmp_path: Path) -> None:
    cases: list[tuple[tuple[Any, ...], str, int]] = [
        (("GET", "/bare/3/"), BARE, 302),
        (("GET", "/bare/3/", "joe"), BARE, 200),
        (("GET", "/public/"), "/public/", 200),
        (("GET", "/nope/"), "<unmatched>", 404),
        (("POST", "/bare/3/"), BARE, 403),
    ]
    requests = [case[0] for case in cases]
    scrapes = [("GET", path, user) for path in SCRAPES for user in ("", "joe")]
    answers = serve(server, requests + scrapes, tmp_path, MIDDLEWARE=[*MIDDLEWARE, LOGIN_REQUIRED])
    for (request, route, status), answer in zip(cases, answers, strict=False):
        check(answer, request[0], route, status)
    for answer in answers[len(cases) :]:
        check_scrape(answer, len(cases))
        check_no_session(answer)


@pytest.mark.skipif(not HAS_LOGIN_REQUIRED, reason="LoginRequiredMiddleware is new in Django 5.1")
@SERVERS
def test_metrics_behind_login_required_middleware(server: str, tmp_path: Path) -> None:
    refused, scrape = serve(
        server,
        [("GET", "/metrics"), ("GET", "/metrics", "joe")],
        tmp_path,
        MIDDLEWARE=[*MIDDLEWARE, LOGIN_REQUIRED],
        PROM_MIDDLEWARE={"metrics_path": None},
    )
    check(refused, "GET", "/metrics", 302)
    assert refused["headers"]["location"].startswith("/log-in/")
    check_scrape(scrape, 1)


@SERVERS
def test_metrics_outside(server: str, tmp_path: Path) -> None:
    """Sessions that are saved with every request are not even looked at."""
    requests: list[Any] = [("GET", "/visits/", "joe")]
    hosts: list[dict[str, str]] = [{}, {"host": "elsewhere"}]
    for path in SCRAPES:
        requests += [("GET", path, user, h) for user in ("", "joe", "broken") for h in hosts]
    page, *scrapes = serve(
        server,
        requests,
        tmp_path,
        SESSION_SAVE_EVERY_REQUEST=True,
        SECURE_SSL_REDIRECT=False,
    )
    assert {"set-cookie", "vary"} <= set(page["headers"])
    for scrape in scrapes:
        check_scrape(scrape, 1)
        check_no_session(scrape)
        assert scrape["sessions"] == page["sessions"]


@SERVERS
def test_security_does_not_stop_a_scrape(server: str, tmp_path: Path) -> None:
    redirected, *scrapes = serve(
        server,
        [("GET", "/orders/3/"), *(("GET", path) for path in SCRAPES)],
        tmp_path,
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
def test_metrics_inside(server: str, tmp_path: Path) -> None:
    requests: list[Any] = []
    for path, user, _ in INSIDE.values():
        requests += [("GET", path), ("GET", path, user), ("HEAD", path, user)]
    answers = serve(server, requests, tmp_path, PROM_MIDDLEWARE={"metrics_path": None})
    for index, (path, _, status) in enumerate(INSIDE.values()):
        refused, scrape, head = answers[3 * index : 3 * index + 3]
        check(refused, "GET", path, status)
        assert "http_requests" not in refused["body"]
        check_scrape(scrape, index + 1)
        check_scrape(head)
        assert head["body"] == ""


@SERVERS
def test_metrics_behind_the_security_middleware(server: str, tmp_path: Path) -> None:
    """The door can stand where it is told to, and then it answers what comes that far."""
    ours = "prom_middleware.django.PrometheusMiddleware"
    security, *others = MIDDLEWARE
    secure = {"x-forwarded-proto": "https"}
    redirected, scrape = serve(
        server,
        [("GET", "/metrics"), ("GET", "/metrics", "", secure)],
        tmp_path,
        MIDDLEWARE=[security, ours, *others],
        SECURE_SSL_REDIRECT=True,
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    )
    assert (redirected["status"], redirected["records"]) == (301, [])
    check_scrape(scrape)
    check_no_session(scrape)
