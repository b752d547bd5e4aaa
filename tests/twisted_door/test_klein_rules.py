"""The agreed rows for Klein, and others that the same rules imply."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from metrics import in_progress, records
from waiting import becomes

klein = pytest.importorskip("klein", reason="Klein is not installed")

from twisted.internet.defer import Deferred  # noqa: E402
from twisted.web.resource import EncodingResourceWrapper, Resource  # noqa: E402
from twisted.web.server import GzipEncoderFactory  # noqa: E402
from werkzeug.routing import BaseConverter  # noqa: E402

from prom_middleware import failures, instrument  # noqa: E402
from twisted_door.reactor import ask, connect, request, serving  # noqa: E402
from twisted_door.resources import Leaf  # noqa: E402


def application() -> Any:
    app = klein.Klein()

    @app.route("/")
    def index(request: Any) -> bytes:
        return b"index"

    @app.route("/hello/<name>")
    def hello(request: Any, name: str) -> str:
        return f"hello {name}"

    @app.route("/a/<x>", methods=["GET"])
    def only_get(request: Any, x: str) -> bytes:
        return b"a"

    @app.route("/who/<name>", methods=["POST", "PUT", *(f"M{number}" for number in range(40))])
    def anybody(request: Any, name: str) -> str:
        return name

    @app.route("/who/me", methods=["GET"])
    def me(request: Any) -> bytes:
        return b"me"

    @app.route("/by/<reader>", methods=["GET"])
    @app.route("/by/<writer>", methods=["POST"])
    def by(request: Any, **parts: Any) -> bytes:
        return b"by"

    @app.route("/more/", branch=True)
    def more(request: Any) -> Any:
        further = klein.Klein()
        further.route("/<x>")(lambda request, x: b"further")
        return further.resource()

    @app.route("/boom")
    def boom(request: Any) -> bytes:
        raise ValueError("boom")

    @app.route("/failed")
    def failed(request: Any) -> Any:
        failing: Deferred[bytes] = Deferred()
        failing.errback(KeyError("later"))
        return failing

    @app.route("/never")
    def never(request: Any) -> Any:
        return Deferred()

    @app.route("/slash/")
    def slash(request: Any) -> bytes:
        return b"slash"

    @app.route("/tree/", branch=True)
    def tree(request: Any) -> Resource:
        root = Resource()
        root.putChild(b"leaf", Leaf())
        return root

    with app.subroute("/sub") as sub:

        @sub.route("/in/<int:n>")
        def inside(request: Any, n: int) -> str:
            return str(n)

    return app


ROWS = {
    "T18": ("GET /klein/hello/bob", ("GET", "/klein/hello/<name>", 200, "")),
    "T19": ("HEAD /klein/hello/bob", ("HEAD", "/klein/hello/<name>", 200, "")),
    "T20": ("POST /klein/a/1", ("POST", "/klein/a/<x>", 405, "")),
    "T21": ("GET /klein/a/1", ("GET", "/klein/a/<x>", 200, "")),
    "T23": ("GET /klein/boom", ("GET", "/klein/boom", 500, "ValueError")),
    "T24": ("GET /klein/sub/in/3", ("GET", "/klein/sub/in/<int:n>", 200, "")),
    "T25": ("GET /klein/nope", ("GET", "<unmatched>", 404, "")),
    # What the rules imply.
    "index": ("GET /klein/", ("GET", "/klein/", 200, "")),
    "other method": ("FOO /klein/a/1", ("_OTHER", "/klein/a/<x>", 405, "")),
    # Two rules without the method: the one that Klein tried first.
    "no method of two": ("PATCH /klein/who/me", ("PATCH", "/klein/who/me", 405, "")),
    "convertor mismatch": ("GET /klein/sub/in/x", ("GET", "<unmatched>", 404, "")),
    "deferred fails": ("GET /klein/failed", ("GET", "/klein/failed", 500, "KeyError")),
    "slash redirect": ("GET /klein/slash", ("GET", "<unmatched>", 308, "")),
    "slash redirect of the resource": ("GET /klein", ("GET", "<unmatched>", 308, "")),
    "behind a wrapper": ("GET /zipped/hello/bob", ("GET", "/zipped/hello/<name>", 200, "")),
    "slash redirect behind a wrapper": ("GET /zipped", ("GET", "<unmatched>", 308, "")),
    "branch": ("GET /klein/tree/leaf", ("GET", "/klein/tree/{path}", 200, "")),
    "miss below a branch": ("GET /klein/tree/nope", ("GET", "/klein/tree/{path}", 404, "")),
    "the method's own rule": ("POST /klein/by/me", ("POST", "/klein/by/<writer>", 200, "")),
    "another application": ("GET /klein/more/x", ("GET", "/klein/more/{path}", 200, "")),
    "static beside": ("GET /leaf", ("GET", "/leaf", 200, "")),
}


def instrumented(registry: CollectorRegistry) -> Any:
    root = Resource()
    root.putChild(b"klein", application().resource())
    root.putChild(b"leaf", Leaf())
    zipped = EncodingResourceWrapper(application().resource(), [GzipEncoderFactory()])
    root.putChild(b"zipped", zipped)
    return instrument(root, registry=registry)


@pytest.mark.parametrize(("line", "row"), ROWS.values(), ids=ROWS)
def test_row(line: str, row: tuple[str, str, int, str]) -> None:
    registry = CollectorRegistry()
    with serving(instrumented(registry)) as port:
        assert ask(port, line).status == row[2]
        expected = [(*row, "complete")]
        assert becomes(lambda: records(registry), expected) == expected
        assert in_progress(registry) == 0


def test_t35_lost_before_the_deferred_fires() -> None:
    registry = CollectorRegistry()
    with serving(instrumented(registry)) as port:
        with connect(port, request("GET /klein/never")):
            assert becomes(lambda: in_progress(registry), 1.0) == 1
        expected = [("GET", "/klein/never", 499, "", "disconnect")]
        assert becomes(lambda: records(registry), expected) == expected
        assert in_progress(registry) == 0


def test_the_application_itself() -> None:
    registry = CollectorRegistry()
    with serving(instrument(application(), registry=registry)) as port:
        assert b"hello bob" in ask(port, "GET /hello/bob").body
        expected = [("GET", "/hello/<name>", 200, "", "complete")]
        assert becomes(lambda: records(registry), expected) == expected
        assert b'route="/hello/<name>"' in ask(port, "GET /metrics").body


def test_klein_as_the_root_resource() -> None:
    registry = CollectorRegistry()
    with serving(instrument(application().resource(), registry=registry)) as port:
        assert ask(port, "GET /hello/bob").status == 200
        expected = [("GET", "/hello/<name>", 200, "", "complete")]
        assert becomes(lambda: records(registry), expected) == expected


def by_host() -> Any:
    app = klein.Klein()
    app.url_map.host_matching = True

    @app.route("/h/<x>", host="a.example:<int:port>")
    @app.route("/h/<y>", host="b.example:<int:port>")
    def hello(request: Any, **parts: Any) -> bytes:
        return b"hello"

    return app


@pytest.mark.parametrize(
    ("host", "route", "status"),
    [
        ("a", "/h/<x>", 200),
        ("b", "/h/<y>", 200),
        ("c", "<unmatched>", 404),
        ("\xff", "<unmatched>", 400),
    ],
)
def test_rules_of_a_host(host: str, route: str, status: int) -> None:
    registry, before = CollectorRegistry(), failures.counts()
    with serving(instrument(by_host(), registry=registry)) as port:
        assert ask(port, "GET /h/1", {"Host": f"{host}.example"}).status == status
        expected = [("GET", route, status)]
        assert becomes(lambda: [record[:3] for record in records(registry)], expected) == expected
    assert failures.counts() == before


class Breaking(BaseConverter):
    def to_python(self, value: str) -> str:
        raise KeyError(value)


def test_a_converter_that_raises_is_no_failure_of_ours() -> None:
    app = klein.Klein()
    app.url_map.converters["breaking"] = Breaking
    app.route("/c/<breaking:x>")(lambda request, x: b"not reached")
    registry, before = CollectorRegistry(), failures.counts()
    with serving(instrument(app, registry=registry)) as port:
        assert ask(port, "GET /c/1").status == 500
        expected = [("GET", "<unmatched>", 500, "KeyError", "complete")]
        assert becomes(lambda: records(registry), expected) == expected
    assert failures.counts() == before
