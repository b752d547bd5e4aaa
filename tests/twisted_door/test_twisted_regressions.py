"""What went wrong once on the Twisted door, or nearly did, each with the smallest case."""

from __future__ import annotations

import gc
import queue
import re
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import twisted
from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from twisted.web.test.requesthelper import DummyRequest

from metrics import collected, in_progress, records, value
from prom_middleware import basic_auth, failures, instrument
from prom_middleware.twisted import MetricsResource, resources
from twisted_door.reactor import TIMEOUT, ask, connect, in_reactor, read_all, request, serving
from twisted_door.resources import Later, Leaf, Never
from waiting import becomes, eventually


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


HANGING_UP: dict[str, Callable[[Any], object]] = {
    "request": lambda request: request.loseConnection(),
    "channel": lambda request: request.channel.loseConnection(),
    "transport": lambda request: request.transport.loseConnection(),
    "abort": lambda request: request.channel.transport.abortConnection(),
}


class HangsUp(Leaf):
    """Answer as much as `body`, then hang up: at once, or a turn of the reactor later."""

    def __init__(self, body: bytes, by: str, later: bool) -> None:
        super().__init__(body)
        self.by = by
        self.later = later

    def render_GET(self, request: Any) -> Any:
        if self.body:
            request.write(self.body)
        if self.later:
            reactor.callLater(0, self.hang_up, request)
        else:
            self.hang_up(request)
        return NOT_DONE_YET

    def hang_up(self, request: Any) -> None:
        HANGING_UP[self.by](request)


def at(resource: Resource) -> Resource:
    root = Resource()
    root.putChild(b"it", resource)
    return root


@pytest.mark.parametrize("later", [False, True], ids=["at-once", "later"])
@pytest.mark.parametrize(("body", "status"), [(b"half", 200), (b"", 500)], ids=["begun", "not"])
def test_a_response_that_we_cut_off_is_incomplete(
    registry: CollectorRegistry, body: bytes, status: int, later: bool
) -> None:
    expected = [("GET", "/it", status, "", "incomplete")]
    resource = HangsUp(body, "request", later)
    with serving(instrument(at(resource), registry=registry)) as port:
        assert body in read_all(connect(port, request("GET /it", close=False)))
        assert becomes(lambda: records(registry), expected) == expected
        in_reactor(int)
    assert records(registry) == expected
    assert in_progress(registry) == 0
    assert value(collected(registry), "http_response_body_bytes_total") == len(body)


@pytest.mark.parametrize("by", ["channel", "transport", "abort"])
@pytest.mark.parametrize(("body", "status"), [(b"half", 200), (b"", 500)], ids=["begun", "not"])
def test_a_connection_closed_below_the_request_ends_it_once(
    registry: CollectorRegistry, body: bytes, status: int, by: str
) -> None:
    expected = [("GET", "/it", status, "", "incomplete")]
    with serving(instrument(at(HangsUp(body, by, later=True)), registry=registry)) as port:
        try:
            read_all(connect(port, request("GET /it", close=False)))
        except ConnectionResetError:
            assert by == "abort"
        assert becomes(lambda: records(registry), expected) == expected
        in_reactor(int)
    assert records(registry) == expected
    assert in_progress(registry) == 0


@pytest.mark.parametrize("by", ["request", "transport"])
@pytest.mark.parametrize("raises", [False, True])
def test_what_is_answered_after_hanging_up_is_sent(
    registry: CollectorRegistry, by: str, raises: bool
) -> None:
    class Answers(Leaf):
        def render_GET(self, request: Any) -> bytes:
            HANGING_UP[by](request)
            if raises:
                raise ValueError
            return b"hello"

    row = (500, "ValueError") if raises else (200, "")
    expected = [("GET", "/it", *row, "complete")]
    with serving(instrument(at(Answers()), registry=registry)) as port:
        _, _, body = read_all(connect(port, request("GET /it", close=False))).partition(b"\r\n\r\n")
        assert becomes(lambda: records(registry), expected) == expected
        in_reactor(int)
    assert value(collected(registry), "http_response_body_bytes_total") == len(body) > 0
    assert in_progress(registry) == 0


def test_hanging_up_after_the_end_changes_nothing(registry: CollectorRegistry) -> None:
    class Finishes(Leaf):
        def render_GET(self, request: Any) -> Any:
            channel = request.channel  # the end takes it from the request
            request.write(self.body)
            request.finish()
            channel.loseConnection()
            return NOT_DONE_YET

    expected = [("GET", "/it", 200, "", "complete")]
    with serving(instrument(at(Finishes()), registry=registry)) as port:
        ask(port, "GET /it")
        assert becomes(lambda: records(registry), expected) == expected
        in_reactor(int)
    assert records(registry) == expected
    assert in_progress(registry) == 0


@pytest.mark.skipif(twisted.version.major < 23, reason="it processes what is behind")
def test_hanging_up_ends_a_pipelined_request_too(registry: CollectorRegistry) -> None:
    """The one behind was never processed, and is nobody's request; old Twisted does process it."""
    lines = request("GET /it", close=False) * 2
    expected = [("GET", "/it", 200, "", "incomplete")]
    resource = HangsUp(b"half", "request", later=True)
    with serving(instrument(at(resource), registry=registry)) as port:
        read_all(connect(port, lines))
        assert becomes(lambda: records(registry), expected) == expected
        in_reactor(int)
    assert records(registry) == expected
    assert in_progress(registry) == 0


@pytest.mark.parametrize("resource", [Leaf(), Later(b"later")], ids=["leaf", "later"])
def test_no_bytes_of_a_head_are_counted(registry: CollectorRegistry, resource: Resource) -> None:
    expected = [("HEAD", "/it", 200, "", "complete")]
    with serving(instrument(at(resource), registry=registry)) as port:
        assert ask(port, "HEAD /it").body == b""
        assert becomes(lambda: records(registry), expected) == expected
    assert value(collected(registry), "http_response_body_bytes_total") == 0


# What is left behind.


def make_request(*arguments: Any, **keywords: Any) -> Request:
    return Request(*arguments, **keywords)


def served(factory: Any) -> tuple[weakref.ref[Site], weakref.ref[CollectorRegistry]]:
    """Return a site that has served a request, and its registry, without keeping them."""
    registry = CollectorRegistry()
    site = Site(at(Leaf()), requestFactory=factory)
    site.noisy = False  # Twisted's log would keep it
    with serving(instrument(site, registry=registry)) as port:
        ask(port, "GET /it")
        assert eventually(lambda: records(registry), bool)
    return weakref.ref(site), weakref.ref(registry)


@pytest.mark.parametrize("factory", [Request, make_request], ids=["class", "callable"])
def test_a_site_and_its_registry_go_when_nobody_needs_them(factory: Any) -> None:
    here = served(factory)

    def left() -> list[object]:
        gc.collect()
        return [one() for one in here]

    assert becomes(left, [None, None]) == [None, None]


def test_a_callable_request_factory_makes_one_class() -> None:
    resource = Never(b"begun")
    site = Site(at(resource), requestFactory=make_request)
    with serving(instrument(site, registry=CollectorRegistry())) as port:
        for count in (1, 2, 3):
            connect(port, request("GET /it")).close()
            assert (
                len(eventually(lambda: resource.requests, lambda r, c=count: len(r) == c)) == count
            )
    assert len({type(one) for one in resource.requests}) == 1


class Busy(Request):
    """Answers before anything is looked for."""

    def process(self) -> None:
        self.setResponseCode(429)
        self.finish()


def test_a_request_that_answers_itself_has_no_route(registry: CollectorRegistry) -> None:
    before = failures.counts()
    expected = [("GET", "<unmatched>", 429, "", "complete")]
    with serving(instrument(Site(at(Leaf()), requestFactory=Busy), registry=registry)) as port:
        assert ask(port, "GET /it").status == 429
        assert becomes(lambda: records(registry), expected) == expected
    assert failures.counts() == before


def test_a_leaf_answers_for_its_children(registry: CollectorRegistry) -> None:
    leaf = Leaf()
    leaf.putChild(b"child", Leaf())
    plain = Resource()
    plain.isLeaf = True
    plain.render_GET = leaf.render_GET
    plain.putChild(b"child", Leaf())
    root = at(leaf)
    root.putChild(b"plain", plain)
    with serving(instrument(root, registry=registry)) as port:
        for path in ("/it/child", "/plain/child"):
            assert ask(port, f"GET {path}").status == 200
    expected = {"/it/{path}", "/plain/{path}"}
    assert becomes(lambda: {one[1] for one in records(registry)}, expected) == expected


class Page(Resource):
    """A resource whose `original` is no resource."""

    original = "photograph.jpg"


class Keeping(Resource):
    """Keep what is made up as a child, as Twisted's own UserDirectory does."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        child = Leaf(path)
        self.putChild(path, child)
        return child


def test_what_is_original_need_not_be_a_resource(registry: CollectorRegistry) -> None:
    page = Page()
    page.putChild(b"thumb", Leaf())
    with serving(instrument(at(page), registry=registry)) as port:
        assert ask(port, "GET /it/thumb").status == 200
        expected = [("GET", "/it/thumb", 200, "", "complete")]
        assert becomes(lambda: records(registry), expected) == expected


def test_children_that_were_made_up_and_kept_are_no_part_of_a_route(
    registry: CollectorRegistry,
) -> None:
    keeping = Keeping()
    keeping.putChild(b"all", Leaf())
    with serving(instrument(at(keeping), registry=registry)) as port:
        for path in ("joe", "all", "joe", "ann"):
            assert ask(port, f"GET /it/{path}").status == 200
        made_up = [("GET", "/it/{path}", 200, "", "complete")] * 3
        expected = [("GET", "/it/all", 200, "", "complete"), *made_up]
        assert becomes(lambda: sorted(records(registry)), expected) == expected


class Further(Keeping):
    """Leave it to its base."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        return self if not path else super().getChild(path, request)


class ByHelper(Resource):
    def getChild(self, path: bytes, request: Any) -> Resource:
        return self.made(path)

    def made(self, path: bytes) -> Resource:
        child = Leaf(path)
        self.putChild(path, child)
        return child


class Within(Resource):
    def getChild(self, path: bytes, request: Any) -> Resource:
        def made() -> Resource:
            self.putChild(path, Leaf(path))
            return self.children[path]

        return made()


def decorated(function: Any) -> Any:
    return lambda self, path, request: function(self, path, request)


class Decorated(Resource):
    @decorated
    def getChild(self, path: bytes, request: Any) -> Resource:
        self.putChild(path, Leaf(path))
        return self.children[path]


class Endless:
    """Has whatever it is asked for, as a mock does."""

    def __getattr__(self, name: str) -> Endless:
        return Endless()


def closing_over(endless: Any) -> Any:
    def getChild(self: Any, path: bytes, request: Any) -> Resource:
        self.putChild(path, Leaf(path))
        return self.children[path] if endless else self  # type: ignore[no-any-return]

    return getChild


class WithEndless(Resource):
    getChild = closing_over(Endless())  # noqa: N815 - Twisted's own name


class WithDefault(Resource):
    def getChildWithDefault(self, path: bytes, request: Any) -> Resource:
        return self.children.setdefault(path, Leaf(path))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", [Further, ByHelper, Within, Decorated, WithDefault, WithEndless])
def test_nor_are_those_that_are_kept_in_another_way(
    registry: CollectorRegistry, kind: type[Resource]
) -> None:
    with serving(instrument(at(kind()), registry=registry)) as port:
        for path in ("joe", "joe", "ann"):
            assert ask(port, f"GET /it/{path}").status == 200
        expected = [("GET", "/it/{path}", 200, "", "complete")] * 3
        assert becomes(lambda: records(registry), expected) == expected


class Slash(Resource):
    """Answer for the slash at the end as well."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        return self if path == b"" else super().getChild(path, request)


def test_children_that_come_after_the_first_request_stand(registry: CollectorRegistry) -> None:
    slash = Slash()
    with serving(instrument(at(slash), registry=registry)) as port:
        assert ask(port, "GET /it/late").status == 404
        slash.putChild(b"late", Leaf())
        assert ask(port, "GET /it/late").status == 200
        expected = [
            ("GET", "/it/late", 200, "", "complete"),
            ("GET", "/it/{path}", 404, "", "complete"),
        ]
        assert becomes(lambda: sorted(records(registry)), expected) == expected


def test_children_of_a_tree_that_goes_in_a_circle(registry: CollectorRegistry) -> None:
    keeping = Keeping()
    keeping.putChild(b"self", keeping)
    with serving(instrument(at(keeping), registry=registry)) as port:
        assert ask(port, "GET /it/self/self/joe").status == 200
        expected = [("GET", "/it/self/self/{path}", 200, "", "complete")]
        assert becomes(lambda: records(registry), expected) == expected


class Sink:
    """Where an upload goes as it comes: nothing that can be measured afterwards."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)

    def close(self) -> None:
        pass


class Streaming(Request):
    """A request that takes its body itself."""

    def gotLength(self, length: Any) -> None:
        self.content = Sink()  # type: ignore[assignment]

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self.method, self.uri, self.path, self.clientproto = command, path, path, version
        self.process()


class Upload(Leaf):
    def render_POST(self, request: Any) -> bytes:
        return str(request.content.size).encode()


def test_an_upload_that_is_not_kept_is_recorded(registry: CollectorRegistry) -> None:
    site = Site(at(Upload()), requestFactory=Streaming)
    instrument(instrument(site, registry=CollectorRegistry()), registry=registry)
    with serving(site) as port:
        assert ask(port, "POST /it", body=b"x" * 70_000).body == b"70000"
        expected = [("POST", "/it", 200, "", "complete")]
        assert becomes(lambda: records(registry), expected) == expected
    received = {"method": "POST", "route": "/it", "status": "200"}
    assert value(collected(registry), "http_request_body_bytes_total", received) == 70_000


def test_a_scrape_has_the_headers_of_all_answers(registry: CollectorRegistry) -> None:
    with serving(instrument(at(Leaf()), registry=registry)) as port:
        page, scrape = ask(port, "GET /it").headers, ask(port, "GET /metrics").headers
    assert {"server", "date"} <= page.keys() & scrape.keys()


def test_each_door_answers_scrapes_as_it_is_told(registry: CollectorRegistry) -> None:
    """Recorded is what one of them records: they have one registry."""
    site = instrument(at(Leaf()), registry=registry)
    site = instrument(site, registry=registry, access=basic_auth("joe", "a long secret"))
    with serving(instrument(site, registry=registry, metrics_path="/others")) as port:
        asked = ("/it", "/others", "/metrics")
        assert [ask(port, f"GET {path}").status for path in asked] == [200, 200, 401]
        assert value(collected(registry), "http_requests_total") == 1


def test_a_request_of_twisted_s_own_tests(registry: CollectorRegistry) -> None:
    asked = DummyRequest([b"metrics"])
    assert isinstance(MetricsResource(registry).render(asked), bytes)
    assert asked.responseCode == 200


def test_who_left_during_a_scrape_is_sent_nothing(registry: CollectorRegistry) -> None:
    calls: queue.Queue[Callable[[], object]] = queue.Queue()
    asked, before = DummyRequest([b"metrics"]), failures.counts()
    asked.site = SimpleNamespace(
        reactor=SimpleNamespace(running=True, callFromThread=lambda call: calls.put(call))
    )
    assert MetricsResource(registry).render(asked) is NOT_DONE_YET
    asked.processingFailed(Failure(ConnectionDone()))
    calls.get(timeout=TIMEOUT)()
    assert (asked.written, asked.finished) == ([], 0)
    assert failures.counts() == before


class Slips(Leaf):
    """Write what is no bytes, first or after some."""

    def __init__(self, begun: bytes) -> None:
        super().__init__(b"")
        self.begun = begun

    def render_GET(self, request: Any) -> Any:
        if self.begun:
            request.write(self.begun)
        request.write("text")
        return b""


@pytest.mark.parametrize("begun", [b"", b"some"], ids=["first", "later"])
def test_a_write_that_raises_after_the_headers_went_out(
    registry: CollectorRegistry, begun: bytes
) -> None:
    """Two registries have the same, whatever Twisted has counted of what it did not take."""
    expected, other = [("GET", "/it", 200, "TypeError", "error")], CollectorRegistry()
    site = instrument(instrument(at(Slips(begun)), registry=registry), registry=other)
    with serving(site) as port:
        answer = read_all(connect(port, request("GET /it")))
        assert answer.startswith(b"HTTP/1.1 200")
        assert becomes(lambda: records(registry), expected) == expected
    body = answer.partition(b"\r\n\r\n")[2]
    pieces = [int(size, 16) for size in re.findall(rb"(?:^|\r\n)([0-9a-f]+)\r\n", body)]
    assert sum(pieces) > len(begun)
    for one in (registry, other):
        assert value(collected(one), "http_response_body_bytes_total") == sum(pieces)


def test_who_scrapes_is_not_left_waiting_for_what_cannot_be_sent(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(resources, "_head", broken)
    with serving(instrument(Resource(), registry=registry)) as port:
        assert read_all(connect(port, request("GET /metrics"))) == b""
