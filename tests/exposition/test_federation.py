"""`/federate`: which series, in which order, with what types, times and labels, and where."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary
from prometheus_client import Metric as MetricFamily
from prometheus_client.parser import text_string_to_metric_families

from exposition.federated import ALL, OPENMETRICS, PROTOBUF, asked, registry_of, types
from instrumentation.driver import core, record
from metrics import series
from prom_middleware import instrument
from prom_middleware.errors import OptionError
from prom_middleware.exposition import (
    basic_auth,
    make_asgi_app,
    make_wsgi_app,
    start_http_server,
)

READABLE = PROTOBUF.replace("delimited", "text")


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return a registry with a metric of each type, in no order."""
    registry = CollectorRegistry()
    Summary("waited_seconds", "Waited.", registry=registry).observe(2)
    Gauge("depth", "Depth.", ["instance"], registry=registry).labels("mine").set(2)
    Counter("asked", "Asked.", ["who"], registry=registry).labels("joe").inc()
    Histogram("took_seconds", "Took.", buckets=[1, 2], registry=registry).observe(1.5)
    Info("build", "Build.", registry=registry).info({"version": "1"})
    Enum("mode", "Mode.", states=["on", "off"], registry=registry)
    return registry


def samples(text: str) -> list[tuple[str, str]]:
    """Return the name and the time of each line."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [(line.split("{")[0].split(" ")[0], line.rpartition("} ")[2]) for line in lines]


@pytest.mark.parametrize("query", ["", "match[]=", "name[]=asked_total", "debug=text"])
def test_a_selector_is_required(registry: CollectorRegistry, query: str) -> None:
    answer = asked(registry, query)
    assert (answer.status, answer.body) == (400, b"no match[] parameter provided\n")


@pytest.mark.parametrize("selector", ["{", "{}", "{a='b", "a{}b", '{a=~"("}'])
def test_a_selector_that_is_none(registry: CollectorRegistry, selector: str) -> None:
    answer = asked(registry, f"match[]=asked_total&match[]={selector}")
    assert answer.status == 400
    assert b"match[]=" in answer.body


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ('{__name__=~".*"}', {"asked_total", "build_info", "depth", "mode"}),
        ('{__name__!="depth"}', {"asked_total", "build_info", "mode"}),
        ('{who!~"j.*"}', {"build_info", "depth", "mode"}),
        ('{mode="",version=""}', {"asked_total", "depth"}),
        ('depth{__name__="depth"} # at noon', {"depth"}),
        ('depth{__name__="mode"}', set()),
    ],
)
def test_a_selector_may_match_series_without_any_label(
    registry: CollectorRegistry, selector: str, found: set[str]
) -> None:
    query = urlencode({"match[]": selector})
    answer = asked(registry, query)
    assert answer.status == 200
    known = {"asked_total", "build_info", "depth", "mode"}
    assert types(answer.body.decode()).keys() & known == found
    # Elsewhere it is refused, as in a query.
    assert asked(registry, query, path="/metrics").status == 400


def test_names_are_no_selectors(registry: CollectorRegistry) -> None:
    text = asked(registry, "match[]=depth&name[]=asked_total").body.decode()
    assert types(text) == {"depth": "gauge"}


def test_each_series_has_the_type_that_it_has_by_itself(registry: CollectorRegistry) -> None:
    text = asked(registry, ALL).body.decode()
    found = {name: kind for name, kind in types(text).items() if not name.endswith("_created")}
    assert found == {
        "asked_total": "counter",
        "build_info": "gauge",
        "depth": "gauge",
        "mode": "gauge",
        "took_seconds_bucket": "untyped",
        "took_seconds_count": "untyped",
        "took_seconds_sum": "untyped",
        "waited_seconds_count": "untyped",
        "waited_seconds_sum": "untyped",
    }


def test_in_the_order_of_their_names(registry: CollectorRegistry) -> None:
    names = [name for name, _ in samples(asked(registry, ALL).body.decode())]
    assert names == sorted(names)


def test_all_have_the_time_of_the_collection_in_milliseconds(registry: CollectorRegistry) -> None:
    import time

    before = int(time.time() * 1000)
    lines = asked(registry, ALL).body.decode().splitlines()
    times = {int(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    assert len(times) == 1
    assert before - 1 <= times.pop() <= time.time() * 1000 + 1


def test_a_series_keeps_the_time_that_it_has() -> None:
    family = MetricFamily("a", "A.", "gauge")
    family.add_sample("a", {}, 1, timestamp=1700000000.5)
    registry = registry_of(family)
    assert asked(registry, "match[]=a").body.endswith(b"\na 1.0 1700000000500\n")


def test_a_part_of_a_histogram(registry: CollectorRegistry) -> None:
    text = asked(registry, 'match[]=took_seconds_bucket{le="2.0"}').body.decode()
    assert types(text) == {"took_seconds_bucket": "untyped"}
    assert series(text) == {("took_seconds_bucket", frozenset({("le", "2.0")})): 1.0}


def test_what_is_not_there_is_no_failure(registry: CollectorRegistry) -> None:
    answer = asked(registry, "match[]=nothing")
    assert (answer.status, answer.body) == (200, b"")


def test_external_labels_where_a_series_has_none_of_that_name(registry: CollectorRegistry) -> None:
    labels = {"instance": "", "datacenter": "a"}
    query = "match[]=depth&match[]=asked_total"
    text = asked(registry, query, external_labels=labels).body.decode()
    assert 'asked_total{datacenter="a",instance="",who="joe"} 1.0 ' in text
    assert 'depth{datacenter="a",instance="mine"} 2.0 ' in text
    # Nowhere but there.
    plain = asked(registry, query, path="/metrics", external_labels=labels).body.decode()
    assert "datacenter" not in plain


def test_an_empty_label_is_none_and_external_ones_are_not_selected_by(
    registry: CollectorRegistry,
) -> None:
    """As a Prometheus has it: it looks for series among its own, before it labels them."""
    for name, value in (("dry", ""), ("wet", "b")):
        Gauge(name, "G.", ["datacenter"], registry=registry).labels(value).set(1)
    labels = {"datacenter": "a"}

    def found(selector: str) -> list[str]:
        query = f"match[]={selector}&match[]=never"
        text = asked(registry, query, external_labels=labels).body.decode()
        return [line.partition(" ")[0] for line in text.splitlines() if not line.startswith("#")]

    assert found('{datacenter="",__name__="dry"}') == ['dry{datacenter="a"}']
    assert found('{datacenter="a"}') == []
    assert found('{datacenter="b"}') == ['wet{datacenter="b"}']
    record(core(registry, labels={"datacenter": lambda _: ""}))
    assert found("http_requests_total") == [
        'http_requests_total{datacenter="a",method="GET",route="/r",status="200"}'
    ]
    assert found('http_requests_in_progress{datacenter="a"}') == []
    assert found('http_requests_in_progress{datacenter=""}')


def test_an_empty_label_of_another_collector_is_none_either() -> None:
    family = MetricFamily("dry", "Dry.", "gauge")
    family.add_sample("dry", {"datacenter": "", "who": "joe"}, 1)
    family.add_sample("dry", {"datacenter": "b", "who": "ann"}, 2)
    text = asked(registry_of(family), "match[]=dry", external_labels={"datacenter": "a"})
    lines = [line.rpartition(" ")[0] for line in text.body.decode().splitlines()[2:]]
    assert lines == ['dry{datacenter="a",who="joe"} 1.0', 'dry{datacenter="b",who="ann"} 2.0']


def test_of_a_series_with_several_times_the_last_is_given() -> None:
    family = MetricFamily("deep", "Deep.", "gauge")
    for value, time in ((1, 10), (3, 30), (2, 20)):
        family.add_sample("deep", {"who": "joe"}, value, timestamp=time)
    family.add_sample("deep", {"who": "ann"}, 5, timestamp=15)
    text = asked(registry_of(family), "match[]=deep").body.decode()
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        'deep{who="joe"} 3.0 30000',
        'deep{who="ann"} 5.0 15000',
    ]


@pytest.mark.parametrize(
    "labels",
    [
        {"a-b": "c"},
        {"a": 1},
        {1: "a"},
        {None: "a"},
        {True: "a"},
        ["a"],
        None,
        {"__name__": "a"},
        {"a": "\ud800"},
    ],
    ids=ascii,
)
def test_external_labels_that_are_none(labels: Any) -> None:
    with pytest.raises(OptionError, match="external_labels"):
        make_wsgi_app(external_labels=labels)


@pytest.mark.parametrize(
    ("accept", "announced"),
    [
        ("", "text/plain; version=0.0.4"),
        (OPENMETRICS, "text/plain; version=0.0.4"),
        ("application/openmetrics-text", "text/plain; version=0.0.4"),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", "text/plain; version=1.0.0"),
        (PROTOBUF, "application/vnd.google.protobuf"),
        (READABLE, READABLE.replace(";", "; ")),
    ],
)
def test_the_formats_are_those_of_prometheus(
    registry: CollectorRegistry, accept: str, announced: str
) -> None:
    answer = asked(registry, ALL, accept)
    assert dict(answer.headers)["Content-Type"].startswith(announced)


def test_scrapes_at_the_same_time_that_differ_only_in_their_kind_share_no_body(
    registry: CollectorRegistry,
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    wanted = [("/metrics", {}), ("/federate", {}), ("/federate", {"external_labels": {"dc": "a"}})]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(20):
            futures = [
                pool.submit(asked, registry, "match[]=depth", "", path, **options)
                for path, options in wanted
            ]
            plain, federated, labelled = (future.result().body for future in futures)
            assert plain.endswith(b'depth{instance="mine"} 2.0\n')
            assert b'depth{instance="mine"} 2.0 1' in federated
            assert b'depth{dc="a",instance="mine"} 2.0 1' in labelled


class Garbage:
    """A collector whose second family cannot be written."""

    def collect(self) -> Iterator[MetricFamily]:
        for name, labels in (("fine", {}), ("odd", {"a.b": "1", "a-b": "2"}), ("good", {})):
            family = MetricFamily(name, "F.", "gauge")
            family.add_sample(name, labels, 1)
            yield family


def test_what_cannot_be_written_is_left_out() -> None:
    registry = CollectorRegistry()
    registry.register(Garbage())  # type: ignore[arg-type]
    text = asked(registry, ALL).body.decode()
    assert list(types(text)) == ["fine", "good"]


class Hanging:
    """A collector that does not come back before the test has ended."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def describe(self) -> list[MetricFamily]:
        return []

    def collect(self) -> list[MetricFamily]:
        self.ended.wait(60)
        return []


def test_what_hangs_is_left_out(registry: CollectorRegistry) -> None:
    hanging = Hanging()
    registry.register(hanging)  # type: ignore[arg-type]
    try:
        answer = asked(registry, ALL, timeout=2.0)
    finally:
        hanging.ended.set()
    assert answer.status == 200
    assert "asked_total" in types(answer.body.decode())


names = st.from_regex(r"[a-z]{1,3}(_total|_sum|_count)?", fullmatch=True)
labels = st.dictionaries(st.from_regex(r"[a-z]{1,2}", fullmatch=True), st.text(max_size=5))


# Each waits for a thread, twice.
@pytest.mark.once
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(names, st.lists(st.tuples(labels, st.floats(allow_nan=False)))))
def test_the_same_series_as_a_scrape_shows(made: dict[str, list[Any]]) -> None:
    families = []
    for name, rows in made.items():
        family = MetricFamily(name, "F.", "unknown")
        for number, (given_labels, value) in enumerate(rows):
            family.add_sample(name, {**given_labels, "number": str(number)}, value)
        families.append(family)

    registry = registry_of(*families)
    plain = asked(registry, ALL, path="/metrics").body.decode()
    federated = asked(registry, ALL).body.decode()
    assert series(federated) == series(plain)
    kept = [family.name for family in text_string_to_metric_families(federated)]
    assert kept == sorted(kept)


# Where it is answered


def wsgi(app: Any, path: str, mount: str = "", query: str = "match[]=depth") -> str:
    told: list[Any] = []
    environ = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": mount, "PATH_INFO": path}
    body = b"".join(app({**environ, "QUERY_STRING": query}, lambda *start: told.append(start)))
    return f"{told[0][0]}\n{body.decode()}"


def asgi(app: Any, path: str, root: str = "", query: str = "match[]=depth") -> str:
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    scope = {"type": "http", "method": "GET", "path": root + path, "root_path": root, "headers": []}
    asyncio.run(app({**scope, "query_string": query.encode()}, None, send))
    return f"{told[0]['status']}\n{b''.join(part['body'] for part in told[1:]).decode()}"


PLACES = [
    ("/federate", "", True),
    ("/federate/", "", True),
    ("", "/federate", True),
    ("/federate", "/metrics", True),
    ("/metrics", "/federate", False),
    ("/metrics", "", False),
    ("/confederate", "", False),
    ("/federate/metrics", "", False),
    ("/", "", False),
]


@pytest.mark.parametrize(("path", "mount", "federates"), PLACES)
@pytest.mark.parametrize(
    ("ask", "make"), [(wsgi, make_wsgi_app), (asgi, make_asgi_app)], ids=["wsgi", "asgi"]
)
def test_an_endpoint_knows_it_by_the_end_of_the_path(
    registry: CollectorRegistry,
    ask: Callable[..., str],
    make: Any,
    path: str,
    mount: str,
    federates: bool,
) -> None:
    answered = ask(make(registry), path, mount)
    assert ('depth{instance="mine"} 2.0 ' in answered) is federates
    assert 'depth{instance="mine"} 2.0' in answered


def test_doors_leave_an_applications_own_route_alone(registry: CollectorRegistry) -> None:
    def own(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"mine"]

    async def own_async(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"mine"})

    assert wsgi(instrument(own, registry=registry), "/federate").endswith("mine")
    assert asgi(instrument(own_async, registry=registry), "/federate").endswith("mine")


@contextmanager
def served(registry: CollectorRegistry, **options: Any) -> Iterator[str]:
    server, thread = start_http_server(0, "127.0.0.1", registry, **options)
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_port_of_its_own(registry: CollectorRegistry) -> None:
    with served(registry, external_labels={"datacenter": "a"}) as url:
        answer = httpx.get(
            f"{url}/federate", params={"match[]": "depth"}, trust_env=False, verify=False
        )
    assert answer.text.startswith("# HELP depth Depth.\n# TYPE depth gauge\ndepth{datacenter=")


def test_the_rules_of_access_are_those_of_scrapes(registry: CollectorRegistry) -> None:
    with served(registry, access=basic_auth("joe", "secret")) as url:
        assert (
            httpx.get(f"{url}/federate?match[]=depth", trust_env=False, verify=False).status_code
            == 401
        )


def test_twisted(registry: CollectorRegistry) -> None:
    testing = pytest.importorskip("twisted.web.test.requesthelper")
    from prom_middleware.twisted import MetricsResource

    resource = MetricsResource(registry, external_labels={"datacenter": "a"})
    request = testing.DummyRequest([b"metrics", b"federate"])
    request.path, request.uri = b"/metrics/federate", b"/metrics/federate?match[]=depth"
    assert b'depth{datacenter="a",instance="mine"} 2.0 1' in resource.render(request)


def test_flask(registry: CollectorRegistry) -> None:
    flask = pytest.importorskip("flask")
    from prom_middleware.flask import Prometheus, metrics_blueprint

    app = flask.Flask("shop")
    Prometheus(app, registry=registry)
    app.register_blueprint(metrics_blueprint(registry, metrics_path="/federate", name="federate"))
    client = app.test_client()
    answer = client.get("/federate?match[]=depth")
    assert b'depth{instance="mine"} 2.0 1' in answer.data
    assert client.get("/federate").status_code == 400
    assert b'depth{instance="mine"} 2.0\n' in client.get("/metrics").data


def test_a_door_that_is_asked_to(registry: CollectorRegistry) -> None:
    def own(environ: Any, start_response: Any) -> list[bytes]:
        raise AssertionError("this is a scrape")

    app = instrument(own, registry=registry, metrics_path="/federate")
    assert 'depth{instance="mine"} 2.0 1' in wsgi(app, "/federate")
