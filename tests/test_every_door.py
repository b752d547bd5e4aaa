"""One table of behaviour, run against every door: the same application, the same requests."""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest

import failsafe_apps
from failsafe_doors import INSTALLED, Door
from looking import look_into
from metrics import collected, in_progress, records, value
from prom_middleware import failures

UNMATCHED = "<unmatched>"
# Without a framework there are no routes, and nobody turns an exception into a response.
BARE = {"asgi", "wsgi"}
# What each framework calls the place of an item; a server without one has no routes.
ITEM = {
    "fastapi": "/items/{id}",
    "starlette": "/items/{id}",
    "flask": "/items/<int:number>",
    "django-wsgi": "/items/<int:number>",
    "django-asgi": "/items/<int:number>",
    "twisted": "/items/{path}",
}


class Row(NamedTuple):
    """A request by its name in `REQUESTS`, and what is recorded of it."""

    request: str
    method: str
    route: str
    status: int
    exception: str = ""
    received: int = 0


ROWS = [
    Row("plain", "GET", "item", 200),
    Row("labels", "POST", "item", 200, received=4),
    Row("head", "HEAD", "item", 200),
    Row("method", "DELETE", "item", 405),
    Row("missing", "GET", UNMATCHED, 404),
    Row("error", "GET", "/boom", 500, "ValueError"),
    Row("stream", "GET", "/stream", 200),
    Row("late", "GET", "/late", 200, "ValueError"),
    Row("nested", "GET", "item", 200),
]
# What ends after the status was sent: it stays.
ENDS_LATE = {"late"}


def expected(door: str, row: Row) -> tuple[str, str, int, str, str]:
    """Return the record of `row` behind `door`."""
    if door in BARE:
        outcome = "error" if row.exception else "complete"
        return (row.method, UNMATCHED, row.status, row.exception, outcome)
    outcome = "error" if row.request in ENDS_LATE else "complete"
    route = ITEM[door] if row.route == "item" else row.route
    # Twisted answers 405 to the methods that it knows only, and DELETE is none of them.
    status = 501 if (door, row.request) == ("twisted", "method") else row.status
    return (row.method, route, status, row.exception, outcome)


def serves(door: str, request: str) -> bool:
    return request in INSTALLED[door].names


CASES = [
    pytest.param(door, row, id=f"{door}-{row.request}")
    for door in INSTALLED
    for row in ROWS
    # The bare application looks at no method.
    if not (door in BARE and row.request == "method") and serves(door, row.request)
]


@pytest.mark.parametrize(("door", "row"), CASES)
def test_a_request_is_recorded_alike(door: str, row: Row) -> None:
    asked = Door(INSTALLED[door], row.request)
    asked.ask()
    assert records(asked.registry) == [expected(door, row)]
    assert in_progress(asked.registry) == 0
    samples = collected(asked.registry)
    assert value(samples, "http_request_body_bytes_total") == row.received
    streams = value(samples, "http_stream_duration_seconds_count")
    # What breaks is an event stream, too, where the framework streams.
    assert streams == (row.request == "stream") or row.request in ENDS_LATE
    assert value(samples, "http_request_duration_seconds_count") == 1 - streams


@pytest.mark.parametrize(("door", "row"), CASES)
def test_who_looks_into_a_request_changes_nothing(
    door: str, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_alone, asked = (Door(INSTALLED[door], row.request) for _ in range(2))
    expected = left_alone.ask()
    monkeypatch.setattr(failsafe_apps, "look", look_into)
    assert asked.ask() == expected
    assert records(asked.registry) == records(left_alone.registry)
    assert in_progress(asked.registry) == 0


@pytest.mark.parametrize("door", [door for door in INSTALLED if serves(door, "left")])
def test_who_leaves_with_an_answer_to_head_has_all_of_it(door: str) -> None:
    asked = Door(INSTALLED[door], "left")
    asked.ask()
    # Whether something was raised in the application, to stop it, is the framework's affair.
    found = [(method, route, outcome) for method, route, _, _, outcome in records(asked.registry)]
    assert found == [("HEAD", UNMATCHED if door in BARE else "/left", "complete")]
    assert in_progress(asked.registry) == 0


@pytest.mark.parametrize("door", INSTALLED)
@pytest.mark.parametrize("doors", [1, 2])
def test_headers_that_are_no_text_change_nothing(
    door: str, doors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (b"x-request-start", b"x-queue-start", b"traceparent")
    headers = tuple((name, b"\xff\xfe") for name in names)
    garbled = failsafe_apps.Request(headers=headers, doors=doors)
    monkeypatch.setitem(failsafe_apps.REQUESTS, "plain", garbled)
    before = failures.counts()
    asked = Door(INSTALLED[door], "plain")
    asked.ask()
    assert records(asked.registry) == [expected(door, ROWS[0])]
    assert in_progress(asked.registry) == 0
    assert failures.counts() == before


@pytest.mark.parametrize("door", INSTALLED)
def test_the_time_in_the_queue_is_that_of_the_first_name(
    door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ((b"x-queue-start", 300), (b"x-request-start", 30))
    headers = tuple((name, b"%f" % (time.time() - ago)) for name, ago in told)
    monkeypatch.setitem(failsafe_apps.REQUESTS, "plain", failsafe_apps.Request(headers=headers))
    asked = Door(INSTALLED[door], "plain")
    asked.ask()
    samples = collected(asked.registry)
    assert value(samples, "http_request_queue_seconds_count") == 1
    assert 29 <= value(samples, "http_request_queue_seconds_sum") < 200


@pytest.mark.parametrize("door", INSTALLED)
@pytest.mark.parametrize(
    ("scrape", "code"),
    [
        *(("scrape", "200"), ("scrape-refused", "401"), ("scrape-post", "405")),
        *(("scrape-near", "200"), ("scrape-far", "403")),
    ],
)
def test_a_scrape_is_counted_and_not_recorded(door: str, scrape: str, code: str) -> None:
    asked = Door(INSTALLED[door], scrape)
    asked.ask()
    samples = collected(asked.registry)
    assert value(samples, "http_requests_total") == 0
    assert value(samples, "prom_middleware_scrapes_total", {"code": code}) == 1
    assert in_progress(asked.registry) == 0
