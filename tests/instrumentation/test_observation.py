"""What one request says of itself, where doors have no part in it."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from instrumentation.driver import Plain, core, record
from metrics import collected, in_progress, value
from prom_middleware import failures
from prom_middleware.instrumentation import Instrumentation, Observation
from prom_middleware.instrumentation.rare import content_length


class Lost(Plain):
    """A dialect that cannot find the route."""

    def route(self, request: Any) -> str | None:
        raise LookupError(request)


@pytest.mark.parametrize("options", [{}, {"labels": {"tenant": lambda facts: "a"}}])
def test_a_route_that_cannot_be_found_is_one_failure(options: dict[str, Any]) -> None:
    registry = CollectorRegistry()
    lost = Instrumentation({"registry": registry, **options}, Lost())
    before = failures.counts().get("route", 0)
    for _ in range(10):
        record(lost)
    assert failures.counts()["route"] == before + 10
    labels = {"route": "<unmatched>", "status": "200"}
    assert value(collected(registry), "http_requests_total", labels) == 10


def test_an_exception_is_not_taken_for_another_one_that_is_gone() -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)
    observations = [record(instrumentation) for _ in range(100)]
    for kind in (ValueError, KeyError):
        for observation in observations:  # the next error has the address of the one before
            observation.raised(kind())
    samples = collected(registry)
    for name in ("ValueError", "KeyError"):
        assert value(samples, "http_request_exceptions_total", {"exception": name}) == 100


@pytest.mark.parametrize("name", ["finish", "returned", "discard"])
def test_one_that_never_began_is_a_failure_and_no_more(name: str) -> None:
    before = sum(failures.counts().values())
    getattr(Observation(), name)()
    assert sum(failures.counts().values()) == before + 1


def test_one_that_began_while_another_had_the_store_and_ends_before_it_is_told() -> None:
    registry = CollectorRegistry()
    instrumentation, before = core(registry), failures.counts()
    give = instrumentation.turn.tokens.pop()
    observation = instrumentation.start({"route": "/r"}, "GET")
    give(give)
    observation.status = "200"
    observation.finish()
    assert failures.counts() == before
    assert in_progress(registry) == 0
    assert value(collected(registry), "http_requests_total") == 1


def chained(kind: type[Exception], error: Exception) -> Exception:
    made = kind()
    made.__context__ = error
    return made


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


class Group(Exception):  # noqa: N818 - as the one of Python 3.11
    def __init__(self, *exceptions: Exception) -> None:
        super().__init__("several")
        self.exceptions = exceptions


def begun(registry: CollectorRegistry) -> Observation:
    return core(registry).start({"route": "/r"}, "GET")


def exceptions(registry: CollectorRegistry) -> dict[str, float]:
    return {
        dict(labels)["exception"]: count
        for (name, labels), count in collected(registry).items()
        if name == "http_request_exceptions_total"
    }


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    ("second", "counted"),
    [
        (lambda _: KeyError(), {"ValueError": 1, "KeyError": 1}),
        (lambda first: first, {"ValueError": 1}),
        (lambda first: chained(KeyError, first), {"KeyError": 1}),
        (lambda first: chained(KeyError, chained(OSError, first)), {"KeyError": 1}),
        (lambda first: Group(KeyError(), first), {"Group": 1}),
        (lambda first: Group(Group(first)), {"Group": 1}),
        (lambda first: caused(chained(KeyError, first), OSError()), {"KeyError": 1}),
    ],
    ids=["another matter", "the same", "in its place", "twice", "group", "groups", "and caused"],
)
def test_two_exceptions(fails: bool, second: Any, counted: dict[str, float]) -> None:
    registry = CollectorRegistry()
    observation, first = begun(registry), ValueError()
    observation.raised(first)
    observation.raised(second(first))
    if fails:
        observation.failed(observation.error or first)
    else:
        observation.returned()
    assert exceptions(registry) == counted


def test_what_is_taken_out_of_a_group_is_the_same() -> None:
    registry = CollectorRegistry()
    observation, first = begun(registry), ValueError()
    for error in (first, Group(first), first):
        observation.raised(error)
    observation.failed(first)
    assert exceptions(registry) == {"ValueError": 1}


@pytest.mark.parametrize("several", [["name"], "name", 2], ids=["list", "text", "number"])
def test_an_error_that_has_something_else_as_exceptions_is_no_group(several: Any) -> None:
    registry, error = CollectorRegistry(), Group()
    observation = begun(registry)
    error.exceptions = several
    before = failures.counts()
    for one in (error, chained(KeyError, error)):
        observation.raised(one)
    observation.returned()
    assert failures.counts() == before
    assert exceptions(registry) == {"KeyError": 1}


def test_a_group_of_several_stands_for_all_of_them() -> None:
    registry = CollectorRegistry()
    observation, first, second = begun(registry), ValueError(), KeyError()
    for error in (first, second, Group(first, second)):
        observation.raised(error)
    observation.returned()
    assert exceptions(registry) == {"Group": 1}


def test_what_comes_late_is_not_counted_again() -> None:
    registry = CollectorRegistry()
    observation, first, second = begun(registry), ValueError(), KeyError()
    for error in (first, second):
        observation.raised(error)
    observation.status = "200"
    observation.finish()
    for error in (first, second, Group(first), chained(OSError, second)):
        observation.raised(error)
    assert exceptions(registry) == {"ValueError": 1, "KeyError": 1}
    observation.raised(LookupError())
    assert exceptions(registry) == {"ValueError": 1, "KeyError": 1, "LookupError": 1}


def test_thousands_of_exceptions_are_not_kept() -> None:
    registry = CollectorRegistry()
    observation = begun(registry)
    for _ in range(5000):
        observation.raised(KeyError())
    assert observation.rare is not None
    assert len(observation.rare.earlier) <= 100
    observation.returned()
    assert observation.rare.earlier == []
    assert value(collected(registry), "http_requests_total") == 1


@pytest.mark.parametrize(
    ("told", "length"),
    [("12", 12), (b"12", 12), ("0", 0)]
    + [(told, None) for told in ("", "-1", "1.0", " 1", "x", b"x", 12, None, "9" * 5000, "\xb2")],
)
def test_what_a_content_length_says(told: object, length: int | None) -> None:
    assert content_length(told) == length
