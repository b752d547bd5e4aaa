"""What `name[]` and `match[]` select: the same from rows of ours as from anybody's samples."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.core import Metric

from asking import asked
from exposition.federated import PROTOBUF
from instrumentation.driver import core, record
from prom_middleware.exposition.refusals import SelectorError
from prom_middleware.exposition.scraping import scrape
from prom_middleware.exposition.selection.parameters import Query, parse_query
from prom_middleware.instrumentation.families import BlockFamily, Row
from prom_middleware.parser import parse


def selected(family: Metric, query: str) -> list[Any]:
    """Return the samples that `query` selects of `family`."""
    steps = parse_query(query).selection.select(family)
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return [] if end.value is None else list(end.value.samples)


def block(kind: str = "histogram", size: int = 3, created: bool = False) -> BlockFamily:
    rows = [
        Row((f"r{number}", "x" if number % 2 else ""), (1.0, 2.0, 2.0, 0.5))
        for number in range(size)
    ]
    if kind != "histogram":
        rows = [row._replace(values=row.values[:1]) for row in rows]
    bounds = (0.1,) if kind == "histogram" else ()
    family = BlockFamily(Metric("mine", "Mine.", kind), ("route", "kind"), bounds, lambda: rows)
    family.shows_created = created and kind != "gauge"
    return family


def as_samples(family: BlockFamily) -> Metric:
    foreign = Metric(family.name, family.documentation, family.type)
    foreign.samples = list(family.samples)
    return foreign


SELECTORS = [
    "mine",
    "mine_total",
    "mine_bucket",
    "mine_count",
    'mine_created{route="r1"}',
    'mine_bucket{le="0.1"}',
    'mine_bucket{le!="0.1",route="r1"}',
    'mine_sum{route=~"r[12]"}',
    '{route="r0"}',
    '{kind=""   , __name__=~"mine.*"}',
    '{__name__!~"mine_(bucket|sum)",route!="r9"}'.replace('!="r9"', '=~"r.*"'),
    '{kind!="",route!~"r1"}',
    '{le="+Inf"}',
    "{'mine'}",
    "other",
]
NAMES = ["mine", "mine_total", "mine_bucket", "mine_sum", "mine_count", "mine_created", "min"]


@given(
    st.lists(st.sampled_from(SELECTORS), max_size=3),
    st.lists(st.sampled_from(NAMES), max_size=3),
    st.sampled_from(["histogram", "counter", "gauge"]),
    st.booleans(),
)
@example([], ["mine_created"], "counter", True)
@example(['mine_created{route="r1"}'], [], "histogram", True)
def test_rows_are_selected_as_samples_are(
    selectors: list[str], names: list[str], kind: str, created: bool
) -> None:
    query = "&".join(
        [*(f"match[]={quote(one)}" for one in selectors), *(f"name[]={one}" for one in names)]
    )
    family = block(kind, created=created)
    assert selected(family, query) == selected(as_samples(block(kind, created=created)), query)


PARTS = [
    "name[]=took_sum",
    "name[]=took_count",
    "match[]=took_bucket",
    'match[]=took_bucket{le="1.0"}',
    'match[]={le="1.0"}&match[]=took_count',
    "match[]=size_sum",
    "name[]=size_count&name[]=asked_total",
    "name[]=asked_total",
    "name[]=took",
    'match[]={who="ann",le!="x"}',
    'match[]=took_sum{who="ann"}&match[]={__name__=~"took_.*",who="joe"}',
]


@pytest.mark.parametrize("query", PARTS)
@pytest.mark.parametrize("rows", [False, True])
def test_a_part_of_a_histogram_brings_no_numbers_that_nobody_counted(
    query: str, rows: bool
) -> None:
    """Protobuf has one value for a label set, in which what is missing is zero."""
    registry = CollectorRegistry()
    took = Histogram("took", "Took.", ["who"], registry=registry, buckets=(1, 2))
    size = Summary("size", "Size.", ["who"], registry=registry)
    for who in ("ann", "joe"):
        took.labels(who).observe(1.5)
        size.labels(who).observe(3)
    Counter("asked", "Asked.", registry=registry).inc(2)
    if rows:
        of_door = core(registry)
        for method in ("GET", "POST"):
            record(of_door, method=method)
        query = query.replace("took", "http_request_duration_seconds")
        query = query.replace("who", "method").replace("ann", "GET").replace("joe", "POST")
    shown: list[dict[Any, float]] = [
        {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in parse(scrape(registry, asked(query=query, accept=accept)).body, accept)
            for sample in family.samples
            # The one is rounded, and has its place beside the value; the other counts scrapes.
            if not sample.name.endswith("_created") and not sample.name.startswith("prom_")
        }
        for accept in ("text/plain", PROTOBUF)
    ]
    assert shown[0] == shown[1] != {}


def test_nor_does_a_part_of_one_that_can_go_below_zero() -> None:
    """Its samples are made anew each time."""
    registry = CollectorRegistry()
    Histogram("warm", "Warm.", registry=registry, buckets=(-10, 0, 10)).observe(-5)
    answer = scrape(registry, asked(query="name[]=warm_count", accept=PROTOBUF))
    samples = [sample for family in parse(answer.body, PROTOBUF) for sample in family.samples]
    assert [(sample.name, sample.value) for sample in samples] == [("warm_count", 1)]


@pytest.mark.parametrize("size", [0, 1, 64, 65, 1000])
def test_large_families_are_selected_in_steps(size: int) -> None:
    steps = parse_query('match[]={route="r7"}').selection.select(block(size=size))
    number = 0
    try:
        while True:
            next(steps)
            number += 1
    except StopIteration as end:
        found = end.value
    assert number == size // 64
    assert (found is not None) is (size > 7)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("&".join(["name[]=x"] * 10_000), "more than"),
        ("&".join(["name[]=x"] * 1001), "more than 1000 parameters"),
        ("&".join(["match[]=x"] * 101), "more than 100 selectors"),
        ("name[]=" + "x" * 70_000, "more than 65536 characters"),
        ("match[]=up{", "match[]='up{'"),
        ("match[]=up&match[]={}", "one matcher at least is wanted"),
        ('match[]=up&match[]={a=""}', "must not match the empty string"),
        ("debug=html", "debug='html' is none of text, openmetrics, prometheus-protobuf"),
    ],
)
def test_what_is_too_much_or_wrong_is_a_400(query: str, words: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_query(query)
    assert words in str(caught.value)
    response = scrape(CollectorRegistry(), asked(query=query))
    assert response.status == 400
    assert words in response.body.decode()
    assert len(response.body) < 500


@given(st.text(max_size=40))
def test_whatever_comes_is_read_or_refused(query: str) -> None:
    try:
        found = parse_query(query)
    except SelectorError:
        return
    assert isinstance(found, Query)


def test_collectors_that_have_nothing_of_it_are_not_asked() -> None:
    registry, asked_for = CollectorRegistry(auto_describe=True), []

    class Costly:
        def describe(self) -> list[Metric]:
            return [Metric("costly", "", "gauge")]

        def collect(self) -> list[Metric]:
            asked_for.append("costly")
            return []

    registry.register(Costly())
    Gauge("cheap", "Cheap.", registry=registry)
    for query in ("name[]=cheap", "match[]=cheap", "match[]=cheap&name[]=other"):
        assert b"cheap 0.0" in scrape(registry, asked(query=query)).body
    assert asked_for == []
    scrape(registry, asked(query="match[]={__name__=~'c.*'}"))
    assert asked_for == ["costly"]


def test_each_kind_of_metric_is_selected_by_its_samples() -> None:
    registry = CollectorRegistry()
    Counter("c", "C.", ["l"], registry=registry).labels("1").inc()
    Summary("s", "S.", registry=registry).observe(2)
    Histogram("h", "H.", registry=registry, buckets=[1]).observe(2)
    body = scrape(registry, asked(query='match[]={le="1.0"}&match[]={l="1"}&name[]=s_sum')).body
    lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
    assert [line.split("{")[0].split(" ")[0] for line in lines if "_created" not in line] == [
        "c_total",
        "s_sum",
        "h_bucket",
    ]


def test_a_regular_expression_that_costs_too_much_is_a_400() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("g", "G.", ["l"], registry=registry)
    for number in range(3000):
        text = format(number * 7919, "0300b").replace("0", "a").replace("1", "b")
        gauge.labels(text[::-1]).set(1)
    query = 'match[]={l=~"(a|b)*a(a|b){400}"}'
    response = scrape(registry, asked(query=query))
    assert response.status == 400
    assert b"costs too much" in response.body


@pytest.mark.parametrize(
    ("debug", "kind", "end"),
    [
        ("text", "text/plain; charset=utf-8", b"g 0.0\n"),
        ("openmetrics", "text/plain; charset=utf-8", b"g 0.0\n# EOF\n"),
        ("text&debug=openmetrics", "text/plain; charset=utf-8", b"g 0.0\n# EOF\n"),  # the last one
        (
            "prometheus-protobuf",
            "text/plain; charset=utf-8",
            b'name: "g"\nhelp: "G."\ntype: GAUGE\nmetric {\n  gauge {\n    value: 0\n  }\n}\n\n',
        ),
    ],
)
def test_people_get_the_format_that_they_name(debug: str, kind: str, end: bytes) -> None:
    registry = CollectorRegistry()
    Gauge("g", "G.", registry=registry)
    request = asked(query=f"debug={debug}", accept="application/openmetrics-text;version=1.0.0")
    response = scrape(registry, request)
    assert dict(response.headers)["Content-Type"].startswith(kind)
    assert response.body.endswith(end)


def test_a_query_that_is_not_encoded_is_read_as_utf_8() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("rooms", "Rooms.", ["hotel"], registry=registry)
    gauge.labels("Zum Löwen").set(3)
    gauge.labels("Sole").set(4)
    text = 'match[]={hotel="Zum Löwen"}'
    # As bytes stand in an ASGI scope or a WSGI environ, and as Django has it.
    for query in (text.encode().decode("latin-1").replace(" ", "+"), text.replace(" ", "+")):
        found = scrape(registry, asked(query=query)).body.decode()
        assert 'rooms{hotel="Zum Löwen"} 3.0\n' in found
        assert "Sole" not in found
