"""Groups in memory: what is undone, what is kept, and what is in order."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_middleware.push.groups import locate
from prom_middleware.pushgateway import make_asgi_app
from prom_middleware.pushgateway.bodies.protobuf import parse_protobuf
from prom_middleware.pushgateway.bodies.text import parse_text
from prom_middleware.pushgateway.consistency import InconsistentError
from prom_middleware.pushgateway.durable import Journal, StorageError
from prom_middleware.pushgateway.grouping import GroupingError, grouping_key
from prom_middleware.pushgateway.numbers import go_float, go_sprint, parse_go_float
from prom_middleware.pushgateway.rendering import Form, head, joined, metric_bytes
from prom_middleware.pushgateway.store import Push, Store
from prom_middleware.pushgateway.stored import dump, load
from pushgateway.gateways import Mounted, shown

TEXT = Form()


def push(store: Store, job: str, body: str, *, replace: bool = True) -> None:
    store.push([Push((("job", job),), parse_text(body.encode()), replace)])


def lines(store: Store, name: str) -> list[str]:
    exposed = store.exposed(TEXT).get(name)
    return exposed.metrics.decode().splitlines() if exposed else []


def test_what_is_undone_is_there_once() -> None:
    store = Store()
    push(store, "j", "a 1\n")
    assert lines(store, "a") == ['a{instance="",job="j"} 1']
    index = store._names["a"]
    first = Push((("job", "j"),), parse_text(b"a 2\n"), True)
    wrong = Push((("job", "k"),), parse_text(b"b 1\nb 2\n"), True)
    for _ in range(3):
        with pytest.raises(InconsistentError):
            store.push([first, wrong])
        assert lines(store, "a") == ['a{instance="",job="j"} 1']
        assert len(index._assembled[TEXT].entries) == 1


def test_pushes_that_nobody_scrapes_are_not_kept() -> None:
    store = Store()
    push(store, "j", "a 0\n")
    assert lines(store, "a") == ['a{instance="",job="j"} 0']
    for number in range(100):
        push(store, "j", f"a {number}\n")
    assembled = store._names["a"]._assembled[TEXT]
    assert len(assembled.entries) + len(assembled.added) <= 2
    assert lines(store, "a") == ['a{instance="",job="j"} 99']


def test_a_disk_that_fails_changes_nothing(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "groups.db"))
    store = Store(journal)
    push(store, "j", "a 1\n")
    before = store.exposed(TEXT)
    journal.close()  # as if the disk were gone
    for change in (
        lambda: push(store, "j", "a 2\n"),
        lambda: push(store, "k", "a 2\n"),
        lambda: store.delete_group((("job", "j"),)),
        store.wipe,
    ):
        with pytest.raises(StorageError):
            change()
        assert store.exposed(TEXT) == before
    with pytest.raises(InconsistentError):
        push(store, "j", "a 1 1\n")
    assert store.exposed(TEXT) == before


def test_a_failure_that_is_not_utf8_is_kept_as_text(tmp_path: Path) -> None:
    send = Mounted(make_asgi_app(persistence_file=str(tmp_path / "groups.db")))
    label = b"\x0a\x02\x0a\x00"
    twice = b"\x0a\x05\x0a\x01\xff\x12\x00" * 2
    for labels in (label, twice):
        metric = labels + b"\x12\x09\x09" + bytes(8)
        family = b"\x0a\x01a\x18\x01\x22" + bytes([len(metric)]) + metric
        reply = send(
            "PUT",
            "/metrics/job/j",
            bytes([len(family)]) + family,
            {
                "Content-Type": "application/vnd.google.protobuf; encoding=delimited; "
                "proto=io.prometheus.client.MetricFamily"
            },
        )
        assert reply.status == 400, reply
        assert "<strong>Last push failed</strong>" in send("GET", "/").text
    send.app.gateway.close()


@given(
    st.lists(
        st.tuples(st.sampled_from("jkl"), st.sets(st.integers(0, 9), max_size=5), st.booleans()),
        max_size=8,
    )
)
def test_what_is_put_together_piece_by_piece_is_the_same_as_at_once(pushes: list) -> None:
    stepwise = Store()
    for job, numbers, replace in pushes:
        push(stepwise, job, "".join(f'a{{i="{one}"}} {one}\n' for one in numbers), replace=replace)
        lines(stepwise, "a")
    anew = Store()
    for group in stepwise.groups():
        if "a" in group.parts:
            anew.push([Push(group.key, [group.parts["a"].family], True)])
    assert lines(stepwise, "a") == lines(anew, "a") == sorted(lines(anew, "a"))


NUMBERS = st.floats(allow_nan=False)


@given(NUMBERS)
def test_numbers_as_go_writes_them_are_read_as_they_were(value: float) -> None:
    assert parse_go_float(go_float(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1_000_000, "1000000"),
        (2**64 - 1, "18446744073709551615"),
        (1e6, "1e+06"),
        (0.0, "0"),
        (-0.0, "-0"),
        (float("inf"), "+Inf"),
    ],
)
def test_numbers_as_go_prints_them(value: float, text: str) -> None:
    assert go_sprint(value) == text


@pytest.mark.parametrize("text", ["1_0", "0x1p-2", "1e999", "+nan", "\u0663", "", "1 ", "--1"])
def test_what_is_no_number_to_go(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no number|is out of range"):
        parse_go_float(text)


VALUES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@given(VALUES, st.dictionaries(st.sampled_from(["x", "y_z", "instance"]), VALUES | st.just("")))
def test_the_path_that_a_push_has_leads_to_its_group(job: str, labels: dict[str, str]) -> None:
    key = tuple(sorted({**labels, "job": job}.items()))
    path = locate("gateway:9091", job, labels).url.partition("/metrics/")[2]
    kind, value, *rest = unquote(path).split("/")
    below = "".join(f"/{one}" for one in rest)
    assert grouping_key(f"{kind}/{value}", below) == key


@pytest.mark.parametrize("path", ["job@base64/a", "job@base64/a+b=", "job/"])
def test_what_names_no_group(path: str) -> None:
    with pytest.raises(GroupingError):
        grouping_key(path, "")


BODY = """\
# HELP h Help \\\\ and\\nmore.
# TYPE h histogram
h_bucket{x="\u00e9",le="1"} 1
h_bucket{x="\u00e9",le="+Inf"} 3
h_sum{x="\u00e9"} NaN
h_count{x="\u00e9"} 3
# TYPE s summary
s{quantile="0.5"} -Inf
s_count 4
# TYPE c counter
c{a="\\"\\\\\\n"} 1e21
"""


def test_families_are_the_same_in_every_form() -> None:
    for family in parse_text(BODY.encode()):
        form = Form(is_protobuf=True)
        metrics = b"".join(metric_bytes(family.name, family.type, m, form) for m in family.metrics)
        first = head(family.name, family.type, family.help, form)
        assert repr(parse_protobuf(b"".join(joined(first, metrics, form)))) == repr([family])
        assert repr(load(family.name, dump(family))) == repr(family)


def test_a_whole_exposition_can_be_pushed_again() -> None:
    send = Mounted(make_asgi_app())
    assert send("PUT", "/metrics/job/j", BODY).status == 200
    text = shown(send("GET", "/metrics").text)
    other = Mounted(make_asgi_app())
    assert other("PUT", "/metrics/job/j", text.replace(" <T>", " 1")).status == 200
    again = shown(other("GET", "/metrics").text)
    assert [one for one in again.split("\n") if "push_" not in one] == [
        one for one in text.split("\n") if "push_" not in one
    ]
