"""Extra labels: what callables are told, and what becomes of whatever they return."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from instrumentation.driver import core, record
from metrics import collected, value
from prom_middleware import failures
from prom_middleware.instrumentation import Facts, Instrumentation
from prom_middleware.instrumentation.labels import MAX_LENGTH
from prom_middleware.stores.multiprocess import MultiprocessStore


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no words")


def raising(_: Facts) -> str:
    raise KeyError("tenant")


class Timeout(BaseException):
    """As gevent's is."""


def timing_out(_: Facts) -> str:
    raise Timeout


def leaving(_: Facts) -> str:
    raise SystemExit


def labelled(label: Any) -> tuple[Instrumentation, CollectorRegistry]:
    registry = CollectorRegistry()
    return core(registry, labels={"tenant": label}), registry


def tenants(registry: CollectorRegistry) -> set[str]:
    samples = collected(registry)
    return {dict(have)["tenant"] for (name, have) in samples if name == "http_requests_total"}


ANSWERS = [
    ("a string", "acme", "acme"),
    ("None", None, ""),
    ("a number", 7, "7"),
    ("a float", 0.5, "0.5"),
    ("a boolean", True, "True"),
    ("bytes", b"x", "b'x'"),
    ("ten kilobytes", "x" * 10_000, "x" * MAX_LENGTH),
    ("ten kilobytes in others", "\N{SNOWMAN}" * 10_000, "\N{SNOWMAN}" * MAX_LENGTH),
    ("a quote", 'a"b\\c\nd', 'a"b\\c\nd'),
    ("an emoji", "\N{SNOWMAN}", "\N{SNOWMAN}"),
    ("a lone surrogate", "a\udcffb", "a?b"),
    ("lone surrogates at the limit", "\ud800" * 300, "?" * MAX_LENGTH),
    ("nothing", "", ""),
    ("the overflow's name", "<overflow>", "<overflow>"),
    ("a NUL", "a\0b", "a\0b"),
]


@pytest.mark.parametrize(
    ("answer", "shown"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS]
)
def test_what_a_callable_returns_becomes_a_label(answer: Any, shown: str) -> None:
    instrumentation, registry = labelled(lambda facts: answer)
    record(instrumentation)
    assert tenants(registry) == {shown}


async def awaited(facts: Facts) -> str:
    return facts.path


@pytest.mark.parametrize(
    "label",
    [
        raising,
        timing_out,
        lambda facts: Unprintable(),
        lambda: "no argument",
        lambda facts: awaited(facts),  # another value for each request
    ],
    ids=["raises", "times out", "unprintable", "no argument", "a coroutine"],
)
def test_a_callable_that_fails_gives_an_empty_label_and_is_counted(label: Any) -> None:
    instrumentation, registry = labelled(label)
    before = failures.counts().get("label", 0)
    record(instrumentation)
    assert tenants(registry) == {""}
    assert failures.counts()["label"] == before + 1
    assert value(collected(registry), "http_requests_in_progress") == 0


def test_one_callable_that_fails_leaves_the_others_alone() -> None:
    registry = CollectorRegistry()
    labels = {"one": raising, "two": lambda facts: facts.path, "three": "constant"}
    record(core(registry, labels=labels), path="/here")
    wanted = {"one": "", "two": "/here", "three": "constant"}
    assert value(collected(registry), "http_requests_total", wanted) == 1


@given(st.text())
def test_any_text_can_be_exposed(text: str) -> None:
    instrumentation, registry = labelled(lambda facts: text)
    record(instrumentation)
    generate_latest(registry).decode()
    assert value(collected(registry), "http_requests_total") == 1


@given(st.text(st.characters(codec=None, categories=["Cs", "L", "Zs"]), max_size=200))
def test_lone_surrogates_never_break_a_scrape(text: str) -> None:
    instrumentation, registry = labelled(lambda facts: text)
    record(instrumentation)
    assert value(collected(registry), "http_requests_total") == 1


@pytest.mark.parametrize("constant", ["here", "\N{SNOWMAN}", 'a"b\\c\nd', "x" * 10_000])
def test_a_constant_can_be_exposed(constant: str) -> None:
    instrumentation, registry = labelled(constant)
    record(instrumentation)
    generate_latest(registry).decode()
    assert len(tenants(registry)) == 1


def test_a_callable_is_told_the_facts() -> None:
    told: list[Facts] = []
    instrumentation, _ = labelled(told.append)
    headers = {"host": "here", "x-tenant": "acme"}
    record(instrumentation, "/u/{id}", "404", "POST", path="/u/3", headers=headers)
    (facts,) = told
    assert (facts.method, facts.path, facts.route, facts.status) == (
        "POST",
        "/u/3",
        "/u/{id}",
        "404",
    )
    assert facts.headers == headers
    assert facts.request["path"] == "/u/3"
    with pytest.raises(AttributeError):
        facts.path = "/"  # type: ignore[misc]


def test_facts_have_our_labels_not_the_clients_words() -> None:
    told: list[Facts] = []
    instrumentation, _ = labelled(told.append)
    record(instrumentation, None, "200", "BREW")
    assert (told[0].method, told[0].route) == ("_OTHER", "<unmatched>")


def test_a_callable_is_asked_once_per_request() -> None:
    told: list[Facts] = []
    instrumentation, _ = labelled(told.append)
    observation = instrumentation.start({"route": "/r"}, "GET")
    observation.failed(ValueError())
    observation.failed(KeyError())
    assert len(told) == 1


@pytest.mark.parametrize("processes", ["one", "several"])
def test_what_comes_after_the_start_is_told_as_well(
    processes: str, request: pytest.FixtureRequest
) -> None:
    """Where processes share their numbers, a request is promised when its response starts."""
    if processes == "several":
        request.getfixturevalue("shared")
    instrumentation, registry = labelled(lambda facts: facts.request.get("rows"))
    observation = instrumentation.start({"route": "/r"}, "GET")
    observation.status = "200"
    if instrumentation.promises:
        observation.promise()
    observation.request["rows"] = 7
    observation.finish()
    assert tenants(registry) == {"7"}
    assert value(collected(registry), "http_requests_total") == 1


def test_constants_are_made_once(shared: MultiprocessStore) -> None:
    instrumentation, registry = labelled("acme")
    observation = instrumentation.start({"route": "/r"}, "GET")
    observation.status = "200"
    observation.promise()
    promised = observation.promised
    observation.finish()
    assert observation.promised is promised is observation._labels
    assert tenants(registry) == {"acme"}


def test_constants_ask_for_no_facts() -> None:
    instrumentation, registry = labelled("acme")
    observation = instrumentation.start({"route": "/r"}, "GET")
    observation.route, observation.request = "/r", None  # which has none
    observation.finish()
    assert tenants(registry) == {"acme"}


def test_exceptions_and_aborts_have_the_extra_labels() -> None:
    instrumentation, registry = labelled(lambda facts: "acme")
    instrumentation.start({"route": "/r"}, "GET").failed(ValueError())
    samples, tenant = collected(registry), {"tenant": "acme"}
    assert value(samples, "http_requests_total", tenant) == 1
    assert value(samples, "http_request_exceptions_total", tenant) == 1
    assert value(samples, "http_responses_aborted_total", tenant) == 1


def test_event_streams_have_the_extra_labels() -> None:
    registry, wanted = CollectorRegistry(), {"tenant": "acme", "version": "2"}
    observation = core(registry, labels=wanted).start({"route": "/r"}, "GET")
    observation.status, observation.rarely().event_stream = "200", True
    observation.finish()
    samples = collected(registry)
    wanted |= {"route": "/r"}
    assert value(samples, "http_stream_duration_seconds_count", wanted) == 1


@pytest.mark.parametrize("fact", ["path", "headers"])
def test_a_dialect_that_fails_gives_empty_labels(fact: str) -> None:
    class Broken:
        route = path = headers = staticmethod(lambda request: {})

    def broken(_: Any) -> Any:
        raise RuntimeError(fact)

    dialect: Any = Broken()
    setattr(dialect, fact, broken)
    registry = CollectorRegistry()
    options = {"registry": registry, "labels": {"tenant": lambda facts: "x", "site": "here"}}
    before = failures.counts().get("label", 0)
    Instrumentation(options, dialect).start({}, "GET").finish()
    assert tenants(registry) == {""}
    assert failures.counts()["label"] == before + 1


def test_what_ends_the_process_leaves_nothing_in_progress() -> None:
    instrumentation, registry = labelled(leaving)
    with pytest.raises(SystemExit):
        record(instrumentation)
    assert value(collected(registry), "http_requests_in_progress") == 0
