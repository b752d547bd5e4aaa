"""Whatever function of ours raises, the request goes on as if we were not there."""

from __future__ import annotations

import ast
import gc
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import cache, partial
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import pytest

from failsafe_apps import Outcome
from failsafe_companions import COMPANIONS
from failsafe_doors import INSTALLED, Door
from failsafe_scrapes import FILLED
from injection import PACKAGE, Stack, functions_of, name_of, raising_always, raising_once
from metrics import collected, value
from prom_middleware import failures
from prom_middleware.instrumentation import nesting

# Django warns of a file under ASGI, which is read as well as any.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
ENTRY = "the server or the application calls it: it passes on, and guards what it does beside"
BUILD = "it builds the door"
GUARD = "its whole body is a guard, as test_guards_are_nothing_else shows"
RETURNS = "a guard, and after it the response is returned"
EXEMPT = {
    "asgi.serving.Door.serve": ENTRY,
    "asgi.serving.pass_life": ENTRY,
    "asgi.serving._conclude": GUARD,
    "asgi.dialect._telling": ENTRY,
    "asgi.exchange.Exchange.receive": ENTRY,
    "asgi.exchange.Exchange.send": ENTRY,
    "asgi.websocket.observe_websocket": ENTRY,
    "asgi.websocket.observe_websocket.observed_receive": ENTRY,
    "asgi.websocket.observe_websocket.observed_send": ENTRY,
    "exposition.asgi.MetricsApp.__call__": ENTRY,
    "exposition.asgi.send_answer": ENTRY,
    "exposition.wsgi.MetricsApp.__call__": ENTRY,
    "wsgi.middleware.PrometheusMiddleware.__call__": ENTRY,
    "wsgi.response.Response.start_response": ENTRY,
    "wsgi.response.Response.write": ENTRY,
    "wsgi.response.Response.__del__": ENTRY,
    "wsgi.body.Body.__next__": ENTRY,
    "wsgi.body._iterate": ENTRY,
    "wsgi.body._close": ENTRY,
    "wsgi.body.SizedPassedOn.__len__": ENTRY,
    "wsgi.body.SizedPassedOn.__iter__": ENTRY,
    "wsgi.body.Pieces.__iter__": ENTRY,
    "wsgi.body.Pieces.__del__": GUARD,
    "wsgi.body.Pieces.close": ENTRY,
    "wsgi.watching._call": ENTRY,
    "wsgi.watching._watched": RETURNS,
    "wsgi.watching.Watched.__iter__": ENTRY,
    "wsgi.watching.Watched.close": ENTRY,
    "wsgi.files.SentFile.read": ENTRY,
    "wsgi.files.SentFile.close": ENTRY,
    "wsgi.files.SentFile.__iter__": ENTRY,
    "wsgi.files.SentFile.__getattr__": ENTRY,
    "wsgi.files.Wrapping.__call__": ENTRY,
    "wsgi.input.CountedInput.read": ENTRY,
    "wsgi.input.CountedInput.readline": ENTRY,
    "wsgi.input.CountedInput.readlines": ENTRY,
    "wsgi.input.CountedInput.__next__": ENTRY,
    "wsgi.input.CountedInput.__iter__": ENTRY,
    "wsgi.input.CountedInput.__getattr__": ENTRY,
    "wsgi.input.CountedInput._seek": ENTRY,
    "django.middleware.PrometheusMiddleware.__call__": ENTRY,
    "django.middleware.PrometheusMiddleware._answer_async": ENTRY,
    "django.urls.metrics": ENTRY,
    "django.responses.Closer.__call__": ENTRY,
    "django.responses.Closer.__del__": ENTRY,
    "django.responses.Stream.pass_sync": ENTRY,
    "django.responses.Stream.pass_async": ENTRY,
    "twisted.requests._answered.AnsweredRequest.process": ENTRY,
    "twisted.requests._recorded.ObservedRequest.handleContentChunk": ENTRY,
    "twisted.requests._recorded.ObservedRequest.process": ENTRY,
    "twisted.requests._recorded.ObservedRequest.write": ENTRY,
    "twisted.requests._recorded.ObservedRequest.finish": ENTRY,
    "twisted.requests._recorded.ObservedRequest.connectionLost": ENTRY,
    "twisted.requests._recorded.ObservedRequest.processingFailed": ENTRY,
    "twisted.resources.MetricsResource.render": ENTRY,
    "applications._with_door.Application.__setattr__": ENTRY,
    "applications._with_door.Application.build_middleware_stack": ENTRY,
    "applications._innermost": GUARD,
    "asgi.middleware.PrometheusMiddleware.inside": GUARD,
    "asgi.middleware.Inside.__call__": ENTRY,
    "asgi.middleware.PrometheusMiddleware.around": BUILD,
    "stores.multiprocess.openfile.OpenFile.__del__": GUARD,
    "lazy.lazily.attribute": BUILD,
    "instrumentation.observation.Observation.promise": GUARD,
    "instrumentation.observation.Observation.finish": GUARD,
    "instrumentation.observation.Observation.forget_start": GUARD,
    "instrumentation.observation.Observation.returned": GUARD,
    "instrumentation.observation.Observation.broke": GUARD,
    "instrumentation.observation.Observation.left": GUARD,
    "instrumentation.observation.Observation.failed": GUARD,
    "instrumentation.observation.Observation.raised": GUARD,
    "instrumentation.observation.Observation.discard": GUARD,
    "asgi.websocket._end": GUARD,
    "asgi.exchange._size_otherwise": GUARD,
    "django.middleware.PrometheusMiddleware._awaited": ENTRY,
    "django.middleware.PrometheusMiddleware._observe": GUARD,
    "django.middleware.PrometheusMiddleware._scraped": GUARD,
    "django.middleware.PrometheusMiddleware._failed": GUARD,
    "django.middleware._note_exception": GUARD,
    "django.middleware.PrometheusMiddleware._scrape": GUARD,
    "django.middleware.PrometheusMiddleware._view": GUARD,
    "django.middleware.PrometheusMiddleware._view_async": ENTRY,
    "exposition.scraping.answer": GUARD,
    "flask.metrics_blueprint.metrics": ENTRY,
    "flask.connect.raised": GUARD,
    "flask.connect.started": GUARD,
    "flask.Rules.name": GUARD,
    "flask.Door.broke": GUARD,
    "exposition.compression.find_zstd": BUILD,
    "exposition.negotiation._openmetrics": BUILD,
    "exposition.negotiation._text": BUILD,
    "exposition.asgi.MetricsApp._answer": GUARD,
    "exposition.scraping.Visit.answer": GUARD,
    "exposition.turns.Desk.__init__": BUILD,
    "exposition.collecting.direct._agrees": BUILD,
    "instrumentation.families._created_samples": BUILD,
    "instrumentation.families._number_samples": BUILD,
    "exposition.beside.start.work": GUARD,
    "exposition.beside._in_asyncio": RETURNS,
    "exposition.beside._in_trio": RETURNS,
    "django.requests.answer_scrape": GUARD,
    "flask.Door.refining.named_start": ENTRY,
    "twisted.requests._start": GUARD,
    "twisted.requests._announce": GUARD,
    "twisted.requests._forget_websocket": GUARD,
    "twisted.requests._begun": GUARD,
    "twisted.requests._promise": GUARD,
    "twisted.requests._end": GUARD,
    "twisted.requests._is_whole": GUARD,
    "twisted.requests._is_ours": GUARD,
    "twisted.requests._raised": GUARD,
    "asgi.exchange.Exchange.failed": GUARD,
    "wsgi.response.Response.failed": GUARD,
    "wsgi.response.Response.pass_on": GUARD,
    "wsgi.response.Response.count": GUARD,
    "wsgi.response.Response._broken_off": GUARD,
    "wsgi.response.Response.ended": GUARD,
    "wsgi.response.Response.cut": GUARD,
    "wsgi.response.Response.stopped": GUARD,
    "wsgi.response.Response.let_go": GUARD,
    "wsgi.websocket.Handshake.finish": GUARD,
    "wsgi.files.SentFile._note": GUARD,
    "wsgi.files.SentFile._end": GUARD,
    "wsgi.files.Wrapping._sent_file": GUARD,
    "wsgi.input.CountedInput._counted": RETURNS,
    "wsgi.input.CountedInput._position": GUARD,
    "django.responses.observe_response": GUARD,
    "django.responses.watch_stream": GUARD,
    "django.closing._end": GUARD,
    "django.middleware.PrometheusMiddleware._refine": GUARD,
    "django.middleware.PrometheusMiddleware._start": GUARD,
    "django.responses.Stream._failed": GUARD,
    "django.responses.Stream._count": GUARD,
    "django.responses.Stream._read_to_the_end": GUARD,
    "asgi.serving._announce": GUARD,
}
# What itself sets the number of requests in progress right cannot do so when it is what fails.
KEEPS_IN_PROGRESS = (
    "instrumentation.recorder.",
    "instrumentation.series.",
    "instrumentation.websocket.Connection.finish",
    "instrumentation.websocket.Connection.failed",
    "stores.",
)
FLOOR = "failures."  # what counts the failures; it stands on a dictionary and a lock
DOORS = INSTALLED | COMPANIONS | FILLED
Failing = Callable[[], AbstractContextManager[list[object]]]
Survives = Callable[[str, str, str, Failing], None]
MODES = {"once": raising_once, "always": raising_always}


def _each(doors: Iterable[str], mode: str, *marks: pytest.MarkDecorator) -> list[Any]:
    return [pytest.param(one, mode, id=f"{one}-{mode}", marks=marks) for one in doors]


def _is_scraped(door: str) -> bool:
    """Tell whether a door answers scrapes; with one of another kind within, as without it."""
    place = DOORS[door]
    has_any = any(place.requests[name].scrape for name in place.names)
    return has_any and door not in ("wsgi-in-asgi", "asgi-in-wsgi")


# `once` reaches closures too: it is what every version has to bear, and what covers the guards.
# What is there to show, and where it is kept, is the same under every framework.
ONCE, UNMEASURED = pytest.mark.once, (pytest.mark.once, pytest.mark.no_cover)
REQUESTED = [
    *_each([*INSTALLED, *COMPANIONS], "once"),
    *_each(["shared"], "once", ONCE),
    *_each([*INSTALLED, *COMPANIONS, "shared"], "always", *UNMEASURED),
]
SCRAPED = [
    *_each(filter(_is_scraped, DOORS), "once", ONCE),
    *_each(("asgi", "wsgi"), "always", *UNMEASURED),
]


@cache
def _undisturbed(door: str, scenario: str) -> Outcome:
    return Door(DOORS[door], scenario).ask()


@pytest.fixture(autouse=True)
def _doors_may_be_inside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process with doors of several kinds, whichever test has made them before."""
    monkeypatch.setattr(nesting, "inner_doors", True)
    monkeypatch.setattr(nesting, "outer_doors", True)


class Found(NamedTuple):
    """The functions that run behind a door, with the scenarios that reach them anew."""

    functions: dict[str, tuple[CodeType, list[str]]]
    known: set[Stack]


@cache
def _found(door: str) -> Found:
    found, known, place = Found({}, set()), set[Stack](), DOORS[door]
    for scenario in (one for one in place.requests if one in place.names):
        Door(place, scenario).ask()  # what a process finds out once is found out
        # How doors pass on what another one made, or what one does within another, is their own.
        shared = door not in INSTALLED and (door in FILLED or place.requests[scenario].scrape)
        known = found.known | (_shown_by_doors() if shared else set())
        for name, ways in functions_of(Door(place, scenario).ask).items():
            function = found.functions.setdefault(name, (ways[0][0], []))
            # `once` fails in the first one.
            parts = set() if _exempt(name) else set(_parts(ways[0]))
            if not parts <= known:
                function[1].append(scenario)
                found.known.update(parts)
                known |= parts
    return found


def _parts(way: Stack) -> Iterator[Stack]:
    """Cut a way at the nearest guard above: what is raised goes no further.

    What that guard then leaves to those above has to be seen once, and not for each below it.
    """
    guards = (place for place, code in enumerate(way) if place and _is_guard(code))
    first = next(guards, len(way))
    return iter((way[: first + 1], way[first:]))


@cache
def _shown_by_doors() -> set[Stack]:
    """Return the parts of ways below and above guards that doors without companions show."""
    known = set().union(*(_found(door).known for door in INSTALLED))
    return {part for part in known if part and (_is_guard(part[0]) or _is_guard(part[-1]))}


@cache
def _is_guard(code: CodeType) -> bool:
    return EXEMPT.get(name_of(code)) in (GUARD, RETURNS)


def _exempt(name: str) -> bool:
    return name.partition(".<")[0] in EXEMPT or name.startswith(FLOOR)


def _survive(door: str, mode: str, survives: Survives, *, scrapes: bool) -> None:
    """Have every function behind a door fail; which ones there are differs from run to run.

    So they have no tests of their own: distributed tests must be the same in every process.
    """
    broken, tried = {}, 0
    for name, (code, scenarios) in sorted(_found(door).functions.items()):
        chosen = [one for one in scenarios if DOORS[door].requests[one].scrape is scrapes]
        for scenario in [] if _exempt(name) else chosen:
            tried += 1
            failures._counts.clear()
            try:
                survives(door, name, scenario, partial(MODES[mode], code))
            except Exception as error:
                broken[name, scenario] = f"{type(error).__name__}: {error}"
    assert tried
    assert not broken, "\n".join(f"{where}: {what}" for where, what in broken.items())


@pytest.fixture(autouse=True)
def own_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_counts", {})


@pytest.fixture(autouse=True)
def nobody_reads_logs() -> Iterator[None]:
    """To format thousands of tracebacks takes as long as the requests do."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(autouse=True)
def only_what_is_new_can_be_garbage() -> None:
    """To look through all that the doors before have made takes longer than the requests do."""
    gc.collect()
    gc.freeze()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("door", "mode"), REQUESTED)
def test_requests_survive(door: str, mode: str) -> None:
    _survive(door, mode, _request_survives, scrapes=False)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("door", "mode"), SCRAPED)
def test_scrapes_are_answered(door: str, mode: str) -> None:
    _survive(door, mode, _scrape_is_answered, scrapes=True)


def _request_survives(door: str, name: str, scenario: str, failing: Failing) -> None:
    undisturbed, ours = _undisturbed(door, scenario), Door(DOORS[door], scenario)
    failed = sum(failures.counts().values())
    with failing() as reached:
        outcome = ours.ask()
    if not reached:  # a closure, which only `once` reaches, or another thread did it this time
        return
    assert outcome == undisturbed, "another response"
    assert sum(failures.counts().values()) > failed, "not counted"
    _works_again(ours, undisturbed, settles=not name.startswith(KEEPS_IN_PROGRESS))


def _works_again(ours: Door, undisturbed: Outcome, *, settles: bool) -> None:
    counter = "websocket_connections_total" if ours.request.websocket else "http_requests_total"
    before = value(collected(ours.registry), counter)
    assert ours.ask() == undisturbed, "another response afterwards"
    samples = collected(ours.registry)
    assert value(samples, counter) == before + 1, "not recorded afterwards"
    if settles:
        assert value(samples, "http_requests_in_progress") == 0, "in progress"
        assert value(samples, "websocket_connections_open") == 0, "open"


def _scrape_is_answered(door: str, name: str, scenario: str, failing: Failing) -> None:
    ours = Door(DOORS[door], scenario)
    failed = sum(failures.counts().values())
    with failing() as reached:
        outcome = ours.ask()
    if not reached:
        return
    assert outcome.error is None
    assert _status(outcome) in (200, 401, 403, 404, 405, 500)
    shown = b"mine_total 1.0" in _body(outcome)
    assert shown <= (STATUSES[scenario] == 200 and _status(outcome) == 200)
    assert sum(failures.counts().values()) > failed, "not counted"
    assert _status(ours.ask()) == STATUSES[scenario], "another response afterwards"


STATUSES = defaultdict(lambda: 200) | {  # those of the others
    "scrape-far": 403,
    "scrape-refused": 401,
    "scrape-post": 405,
}


def _status(outcome: Outcome) -> int:
    start = outcome.told[0]
    if isinstance(start, dict):
        return int(start["status"])
    return int(start[0][:3] if isinstance(start, tuple) else start.split(b" ")[1])


def _body(outcome: Outcome) -> bytes:
    if isinstance(outcome.told[0], dict):
        return b"".join(message.get("body", b"") for message in outcome.told)
    if isinstance(outcome.told[0], tuple):
        return b"".join(outcome.told[1:])
    return bytes(outcome.told[0].partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("door", INSTALLED)
def test_exemptions_are_in_use(door: str) -> None:
    """The doors do run, and so do the functions that are exempt."""
    assert set(_found(door).functions) & set(EXEMPT)
    assert len(_found(door).functions) > 30


@pytest.mark.parametrize("name", [name for name, why in EXEMPT.items() if why in (GUARD, RETURNS)])
def test_guards_are_nothing_else(name: str) -> None:
    """A function that is trusted as a guard is one `try` that catches whatever comes."""
    body = [one for one in _definition(name).body if not _is_docstring(one)]
    if EXEMPT[name] is RETURNS:
        assert isinstance(body.pop(), ast.Return)
    assert len(body) == 1
    assert isinstance(body[0], ast.Try)
    caught = [handler.type for handler in body[0].handlers]
    assert any(isinstance(one, ast.Name) and one.id == "Exception" for one in caught)


def _definition(name: str) -> ast.FunctionDef:
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        path = PACKAGE.joinpath(*parts[:length]).with_suffix(".py")
        if path.exists():
            node: Any = _parsed(path)
            for part in parts[length:]:
                node = next(n for n in ast.walk(node) if getattr(n, "name", None) == part)
            return node  # type: ignore[no-any-return]
    raise LookupError(name)


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_every_exemption_exists() -> None:
    assert all(_definition(name) for name in EXEMPT)
