"""The agreed rows for Twisted, guard and Klein, and others that the same rules imply."""

from __future__ import annotations

import os
import re
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from twisted.web.resource import EncodingResourceWrapper, Resource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory, Site
from twisted.web.test.requesthelper import DummyChannel
from twisted.web.vhost import NameVirtualHost

from metrics import collected, in_progress, records, value
from prom_middleware import instrument
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import run
from twisted_door.reactor import ask, connect, in_reactor, parse, read_all, request, serving
from twisted_door.resources import NOBODY, USER, Leaf, Never, tree
from waiting import becomes, eventually

Row = tuple[str, str, int, str, str]


def answered(method: str, route: str, status: int, exception: str = "") -> Row:
    return method, route, status, exception, "complete"


# What is asked, with which headers, and the record.
ROWS = {
    "T01": ("GET /", {}, answered("GET", "/", 200)),
    "T02": ("GET /leaf", {}, answered("GET", "/leaf", 200)),
    "T04": ("HEAD /leaf", {}, answered("HEAD", "/leaf", 200)),
    "T05": ("POST /leaf", {}, answered("POST", "/leaf", 405)),
    "T06": ("OPTIONS /leaf", {}, answered("OPTIONS", "/leaf", 501)),
    "T07": ("OPTIONS *", {}, answered("OPTIONS", "*", 200)),
    "T08": ("FOO /leaf", {}, answered("_OTHER", "/leaf", 501)),
    "T09": ("GET /u/joe", {}, answered("GET", "/u/{path}", 200)),
    "T10": ("GET /none/x", {}, answered("GET", "<unmatched>", 404)),
    "T11": ("GET /boom", {}, answered("GET", "/boom", 500, "ValueError")),
    "T13": ("GET /nb", {}, answered("GET", "/nb", 500)),
    "T14": ("GET /static", {}, answered("GET", "/static", 302)),
    "T15": ("GET /guard/secret", {}, answered("GET", "/guard/{path}", 401)),
    "T17": ("GET /guard/secret", USER, answered("GET", "/guard/{path}", 200)),
    "T26": ("GET /%ff/x", {}, answered("GET", "<unmatched>", 404)),
    "T28": ("GET /a%2Fb", {}, answered("GET", "<unmatched>", 404)),
    "T37": ("GET /leaf HTTP/1.0", {}, answered("GET", "/leaf", 200)),
    # What the rules imply.
    "query": ("GET /leaf?x=/u/joe", {}, answered("GET", "/leaf", 200)),
    "below a leaf": ("GET /leaf/x/y", {}, answered("GET", "/leaf/{path}", 200)),
    "nested": ("GET /branch/twig", {}, answered("GET", "/branch/twig", 200)),
    "nested index": ("GET /branch/", {}, answered("GET", "/branch/", 200)),
    "encoded static": ("GET /le%61f", {}, answered("GET", "/leaf", 200)),
    "deep below dynamic": ("GET /u/joe/a/b", {}, answered("GET", "/u/{path}", 200)),
    "nothing below dynamic": ("GET /u/", {}, answered("GET", "/u/", 200)),
    "a leaf's slash": ("GET /leaf/", {}, answered("GET", "/leaf/", 200)),
    "encoded slash below": ("GET /u/a%2Fb", {}, answered("GET", "/u/{path}", 200)),
    "not UTF-8 below": ("GET /u/%ff", {}, answered("GET", "/u/{path}", 200)),
    "dynamic miss": ("GET /u/nobody", {}, answered("GET", "/u/{path}", 404)),
    "getChild raises": ("GET /u/broken", {}, answered("GET", "/u/{path}", 500, "ValueError")),
    "lower case": ("get /leaf", {}, answered("_OTHER", "/leaf", 501)),
    "HEAD of a miss": ("HEAD /nope", {}, answered("HEAD", "<unmatched>", 404)),
    "HEAD raises": ("HEAD /boom", {}, answered("HEAD", "/boom", 500, "ValueError")),
    "file": ("GET /static/a.txt", {}, answered("GET", "/static/{path}", 200)),
    "HEAD file": ("HEAD /static/a.txt", {}, answered("HEAD", "/static/{path}", 200)),
    "no file": ("GET /static/b.txt", {}, answered("GET", "/static/{path}", 404)),
    "not modified": (
        "GET /static/a.txt",
        {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
        answered("GET", "/static/{path}", 304),
    ),
    "wrong password": ("GET /guard/secret", NOBODY, answered("GET", "/guard/{path}", 401)),
    "guard itself": ("GET /guard", {}, answered("GET", "/guard", 401)),
    "miss behind guard": ("GET /guard/nope", USER, answered("GET", "/guard/{path}", 404)),
    "asynchronous": ("GET /slow", {}, answered("GET", "/slow", 200)),
    # The root's own index is a leaf, and a leaf answers for whatever is below it.
    "double slash": ("GET //leaf", {}, answered("GET", "//{path}", 200)),
    "malformed queue time": ("GET /leaf", {"X-Queue-Start": "soon"}, answered("GET", "/leaf", 200)),
}


@pytest.mark.parametrize(("line", "headers", "expected"), ROWS.values(), ids=ROWS)
def test_row(line: str, headers: dict[str, str], expected: Row, tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        assert ask(port, line, headers).status == expected[2]
        assert becomes(lambda: records(registry), [expected]) == [expected]
        assert in_progress(registry) == 0


# Error pages show where a request and its resource are in memory.
ADDRESS = re.compile(rb"0x[0-9a-f]+")


@pytest.mark.parametrize("path", ["/", "/nope", "/nope/x"])
def test_a_root_that_makes_its_children_up_and_has_none_matches_nothing(path: str) -> None:
    registry = CollectorRegistry()
    with serving(instrument(NameVirtualHost(), registry=registry)) as port:
        assert ask(port, f"GET {path}").status == 404
        expected = [answered("GET", "<unmatched>", 404)]
        assert becomes(lambda: records(registry), expected) == expected


@pytest.fixture(params=sorted(ROWS))
def answers(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    line, headers, _ = ROWS[request.param]
    with serving(Site(tree(tmp_path))) as bare:
        yield lambda port: (ask(bare, line, headers), ask(port, line, headers))


def test_the_answer_is_the_same_as_without_us(answers: Any, tmp_path: Path) -> None:
    with serving(instrument(tree(tmp_path), registry=CollectorRegistry())) as port:
        bare, ours = answers(port)
    assert ours.status == bare.status
    assert {**ours.headers, "date": ""} == {**bare.headers, "date": ""}
    assert ADDRESS.sub(b"", ours.body) == ADDRESS.sub(b"", bare.body)


def test_t29_malformed_request_line(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        assert parse(read_all(connect(port, b"NONSENSE\r\n\r\n"))).status == 400
        in_reactor(int)
    assert records(registry) == []
    assert in_progress(registry) == 0


def test_t30_pipelined(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    lines = request("GET /leaf", close=False) + request("GET /slow", close=False)
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        answer = read_all(connect(port, lines + request("GET /leaf")))
        expected = [answered("GET", route, 200) for route in ("/leaf", "/leaf", "/slow")]
        assert becomes(lambda: records(registry), expected) == expected
    assert [part.split(b"\r\n")[0] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200 OK"] * 3
    assert in_progress(registry) == 0


def test_keep_alive_connection_is_closed_between_requests(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        with connect(port, request("GET /leaf", close=False)) as connection:
            assert connection.recv(65536).endswith(b"leaf")
            connection.sendall(request("GET /leaf", close=False))
            assert connection.recv(65536).endswith(b"leaf")
        expected = [answered("GET", "/leaf", 200)] * 2
        assert becomes(lambda: records(registry), expected) == expected
        in_reactor(int)
        assert records(registry) == expected


LOST = {
    "T31": ("GET /async", True, ("GET", "/async", 200, "", "disconnect")),
    "T33": ("GET /async2", False, ("GET", "/async2", 499, "", "disconnect")),
    "HEAD": ("HEAD /async", True, ("HEAD", "/async", 200, "", "complete")),
    "HEAD not begun": ("HEAD /async2", False, ("HEAD", "/async2", 499, "", "disconnect")),
}


@pytest.mark.parametrize(("line", "begun", "expected"), LOST.values(), ids=LOST)
def test_lost(line: str, begun: bool, expected: Row, tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        with connect(port, request(line)) as connection:
            if begun:
                assert b"200 OK" in connection.recv(65536)
            assert becomes(lambda: in_progress(registry), 1.0) == 1
        assert becomes(lambda: records(registry), [expected]) == [expected]
    assert in_progress(registry) == 0


class Unfinished(Resource):
    """Write what it has announced, or less, and never finish."""

    isLeaf = True  # noqa: N815 - the name is Twisted's

    def __init__(self, announced: bytes) -> None:
        super().__init__()
        self._announced = announced

    def render(self, request: Any) -> int:
        request.setHeader(b"content-length", self._announced)
        request.write(b"whole")
        return NOT_DONE_YET


@pytest.mark.parametrize(
    ("announced", "outcome"), [(b"5", "complete"), (b"6", "disconnect"), (b"5x", "disconnect")]
)
def test_who_leaves_with_the_whole_answer_has_aborted_nothing(
    announced: bytes, outcome: str
) -> None:
    registry = CollectorRegistry()
    with serving(instrument(Unfinished(announced), registry=registry)) as port:
        with connect(port, request("GET /x")) as connection:
            received = b""
            while not received.endswith(b"whole"):
                received += connection.recv(65536)
        expected = [("GET", "/{path}", 200, "", outcome)]
        assert becomes(lambda: records(registry), expected) == expected
    assert in_progress(registry) == 0


@pytest.mark.parametrize("announced", [b"0", b"5"])
def test_who_leaves_before_an_answer_that_is_announced_has_not_got_it(announced: bytes) -> None:
    class Announces(Never):
        def render_GET(self, request: Any) -> Any:
            request.setHeader(b"content-length", announced)
            return super().render_GET(request)

    registry = CollectorRegistry()
    with serving(instrument(Announces(), registry=registry)) as port:
        with connect(port, request("GET /x")):
            assert becomes(lambda: in_progress(registry), 1.0) == 1
        expected = [("GET", "/{path}", 499, "", "disconnect")]
        assert becomes(lambda: records(registry), expected) == expected


HOSTS = {
    "a resource of the host's": ("GET /cart", "shop.test", "/cart"),
    "with a port, in upper case": ("GET /cart", "SHOP.test:8080", "/cart"),
    "the host's root": ("GET /", "shop.test", "/"),
    "a leaf": ("GET /a/b", "leaf.test", "/{path}"),
    "a leaf's root": ("GET /", "leaf.test", "/"),
    "a miss": ("GET /nope", "shop.test", "<unmatched>"),
    "no such host": ("GET /other", "localhost", "/other"),
    "another host's resource": ("GET /cart", "localhost", "<unmatched>"),
    "behind gzip": ("GET /cart", "zip.test", "/cart"),
}


@pytest.mark.parametrize(("line", "host", "route"), HOSTS.values(), ids=HOSTS)
def test_a_host_of_its_own_has_its_own_resources(line: str, host: str, route: str) -> None:
    def shop(segment: bytes) -> Resource:
        root = Resource()
        root.putChild(b"", Leaf(b"root"))
        root.putChild(segment, Leaf())
        return root

    hosts, registry = NameVirtualHost(), CollectorRegistry()
    hosts.addHost(b"shop.test", shop(b"cart"))
    hosts.addHost(b"leaf.test", Leaf())
    hosts.addHost(b"zip.test", EncodingResourceWrapper(shop(b"cart"), [GzipEncoderFactory()]))
    hosts.default = shop(b"other")
    with serving(instrument(hosts, registry=registry)) as port:
        status = ask(port, line, {"Host": host}).status
        expected = [answered("GET", route, status)]
        assert becomes(lambda: records(registry), expected) == expected
    assert status == (404 if route == "<unmatched>" else 200)


def test_a_host_that_stands_behind_itself_is_looked_through_once() -> None:
    hosts, registry = NameVirtualHost(), CollectorRegistry()
    hosts.default = hosts
    with serving(instrument(hosts, registry=registry)) as port:
        assert ask(port, "GET /x").status == 500
        expected = [answered("GET", "/{path}", 500, "RecursionError")]
        assert becomes(lambda: records(registry), expected) == expected


def test_t34_never_finished(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        with connect(port, request("GET /async")) as connection:
            assert b"200 OK" in connection.recv(65536)
            assert becomes(lambda: in_progress(registry), 1.0) == 1
            assert records(registry) == []
        assert becomes(lambda: in_progress(registry), 0.0) == 0


def test_a_response_finished_after_the_client_left_is_counted_once(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    root = tree(tmp_path)
    waiting = root.children[b"async2"].requests
    with serving(instrument(root, registry=registry)) as port:
        with connect(port, request("GET /async2")):
            eventually(lambda: waiting, bool)
        expected = [("GET", "/async2", 499, "", "disconnect")]
        assert becomes(lambda: records(registry), expected) == expected
        with pytest.raises(RuntimeError):  # Twisted's own complaint reaches the application
            in_reactor(waiting[0].finish)
    assert records(registry) == expected
    assert in_progress(registry) == 0


def test_an_exception_after_the_start_keeps_the_status(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        answer = ask(port, "GET /late HTTP/1.0")
        assert answer.status == 200
        counted = eventually(lambda: collected(registry), lambda s: value(s, "http_requests_total"))
    where = {"method": "GET", "route": "/late"}
    assert value(counted, "http_requests_total", {**where, "status": "200"}) == 1
    raised = {**where, "exception": "KeyError"}
    assert value(counted, "http_request_exceptions_total", raised) == 1
    assert value(counted, "http_responses_aborted_total", {**where, "reason": "error"}) == 1
    assert answer.body.startswith(b"half<html>")  # Twisted's error page comes after what was begun
    assert value(counted, "http_response_body_bytes_total", where) == len(answer.body)
    assert value(counted, "http_requests_in_progress") == 0


class Dies(Leaf):
    """Begin an answer, which the process does not live to finish."""

    def render_GET(self, request: Any) -> Any:
        request.write(b"begun")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_leaves_the_request_that_it_has_begun_to_answer(
    shared: MultiprocessStore,
) -> None:
    registry = CollectorRegistry()
    channel = DummyChannel()
    channel.site = instrument(Dies(b""), registry=registry)
    request = channel.site.requestFactory(channel, False)
    request.gotLength(0)
    served = partial(request.requestReceived, b"GET", b"/", b"HTTP/1.1")
    assert run(served) == -signal.SIGKILL
    assert value(collected(registry), "http_requests_total", {"status": "200"}) == 1
