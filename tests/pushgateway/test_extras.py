"""What the original has not, each off by default; and its own options."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from prom_middleware.errors import OptionError
from prom_middleware.exposition import allow_networks, basic_auth, bearer_token
from prom_middleware.pushgateway import make_asgi_app
from prom_middleware.pushgateway.options import Setup
from prom_middleware.pushgateway.store import Push, Store
from prom_middleware.pushgateway.ttl import parse_duration
from pushgateway.gateways import Mounted, shown

SECOND = 10**9


def gateway(**options: Any) -> Mounted:
    return Mounted(make_asgi_app(**options))


def jobs(send: Mounted) -> list[str]:
    groups = json.loads(send("GET", "/api/v1/metrics").body)["data"]
    return sorted(group["labels"]["job"] for group in groups)


# Expiry.


class Clock:
    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now


def test_a_group_goes_when_its_time_has_passed_since_the_last_push() -> None:
    clock = Clock()
    store = Store(clock=clock)
    store.push([Push((("job", "a"),), [], True, 60 * SECOND)])
    store.push([Push((("job", "b"),), [], True, None)])
    clock.now += 59 * SECOND
    store.push([Push((("job", "a"),), [], False, 60 * SECOND)])
    clock.now += 59 * SECOND
    assert {dict(one.key)["job"] for one in store.groups()} == {"a", "b"}
    clock.now += SECOND
    assert {dict(one.key)["job"] for one in store.groups()} == {"b"}


def test_a_last_push_without_a_duration_keeps_the_group() -> None:
    clock = Clock()
    store = Store(clock=clock)
    store.push([Push((("job", "a"),), [], True, 60 * SECOND)])
    store.push([Push((("job", "a"),), [], True, None)])
    clock.now += 3600 * SECOND
    assert len(store.groups()) == 1


def test_the_key_overrides_the_flag_and_is_no_label() -> None:
    send = gateway(push_ttl=3600.0)
    send("PUT", "/metrics/job/a/__push_ttl__/90m", "a 1\n")
    send("PUT", "/metrics/job/b", "a 1\n")
    send("PUT", "/metrics/job/c/__push_ttl__/0", "a 1\n")
    assert "__push_ttl__" not in send("GET", "/metrics").text
    kept = {dict(one.key)["job"]: one.ttl_ns for one in send.app.gateway.store.groups()}
    assert kept == {"a": 5400 * SECOND, "b": 3600 * SECOND, "c": None}
    assert "Goes in 1 hour unless it is pushed" in send("GET", "/").text
    assert send("DELETE", "/metrics/job/a/__push_ttl__/1s").status == 202
    assert jobs(send) == ["b", "c"]


def test_a_duration_in_the_key_is_off_by_default_and_has_to_be_one() -> None:
    reply = gateway()("PUT", "/metrics/job/a/__push_ttl__/90m", "a 1\n")
    assert (reply.status, reply.text) == (400, 'improper label name "__push_ttl__"\n')
    reply = gateway(push_ttl=0.0)("PUT", "/metrics/job/a/__push_ttl__/soon", "a 1\n")
    assert (reply.status, "is no duration" in reply.text) == (400, True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1500ms", 1.5), ("1h30m", 5400), ("1d", 86400), ("2w", 1209600)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


NO_DURATIONS = ["", "5", "-1s", "1 h", "1h30", "1e3s", "٣s", "9" * 50 + "s", "30m1h", "5s5s"]


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


# Deleting by selector.


def test_groups_are_deleted_by_their_labels() -> None:
    send = gateway(enable_admin_api=True)
    for path in ("a/shard/1", "a/shard/2", "b/shard/1", "c"):
        assert send("PUT", f"/metrics/job/{path}", "x 1\n").status == 200
    match = "match[]=%7Bshard%3D~%22.%2B%22,job!%3D%22b%22%7D"
    reply = send("PUT", f"/api/v1/admin/delete?{match}")
    assert (reply.status, json.loads(reply.body)["data"]) == (202, {"groups": 2})
    assert jobs(send) == ["b", "c"]


@pytest.mark.parametrize(
    "query", ["", "match[]=", "match[]=%7B%7D", "match[]=up", "match[]=%7Bjob=%22a%22"]
)
def test_what_selects_no_groups_deletes_none(query: str) -> None:
    send = gateway(enable_admin_api=True)
    send("PUT", "/metrics/job/a", "x 1\n")
    assert send("PUT", f"/api/v1/admin/delete?{query}").status == 400
    assert jobs(send) == ["a"]


def test_the_admin_api_is_off_by_default() -> None:
    for path in ("wipe", "delete"):
        assert gateway()("PUT", f"/api/v1/admin/{path}").status == 404


# Several groups in one request.


def multiple(send: Mounted, method: str, *entries: tuple[dict[str, str], str]) -> Any:
    content = [{"labels": labels, "metrics": metrics} for labels, metrics in entries]
    return send(method, "/api/v1/groups", json.dumps(content))


def test_several_groups_are_pushed_at_once() -> None:
    send = gateway(enable_multiple_groups=True)
    send("PUT", "/metrics/job/a", "old 1\n")
    send("PUT", "/metrics/job/b", "old 1\n")
    pushed = ({"job": "a"}, "new 1\n"), ({"job": "c", "shard": "2"}, "new 2\n")
    assert multiple(send, "PUT", *pushed).status == 200
    text = shown(send("GET", "/metrics").text)
    assert 'new{instance="",job="c",shard="2"} 2\n' in text
    assert re.findall(r"^old.*$", text, re.MULTILINE) == ['old{instance="",job="b"} 1']
    assert multiple(send, "POST", ({"job": "b"}, "new 3\n")).status == 200
    assert 'old{instance="",job="b"} 1' in send("GET", "/metrics").text


def test_all_or_none_of_them() -> None:
    send = gateway(enable_multiple_groups=True)
    send("PUT", "/metrics/job/b", "# TYPE x gauge\nx 1\n")
    before = send("GET", "/api/v1/metrics").text
    reply = multiple(send, "PUT", ({"job": "a"}, "y 1\n"), ({"job": "c"}, "y 2\ny 3\n"))
    assert (reply.status, "collected before" in reply.text) == (400, True)
    assert "y{" not in send("GET", "/metrics").text
    reply = multiple(send, "PUT", ({"job": "a"}, "y 1\n"), ({"job": "c"}, "no line"))
    assert (reply.status, reply.text[:8]) == (400, "entry 1:")
    reply = multiple(send, "PUT", ({"job": "a"}, "y 1\n"), ({"shard": "c"}, "y 2\n"))
    assert (reply.status, reply.text) == (400, "entry 1: job name is required\n")
    send("DELETE", "/metrics/job/a")
    send("DELETE", "/metrics/job/c")
    assert send("GET", "/api/v1/metrics").text == before


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[]",
        "[1]",
        '[{"labels": {"job": "a"}}]',
        '[{"labels": {"job": 1}, "metrics": ""}]',
        '[{"labels": {}, "metrics": ""}]',
        '[{"labels": {"job": "a", "__x": "1"}, "metrics": ""}]',
        '[{"labels": {"job": "\\ud800"}, "metrics": "a 1\\n"}]',
        '[{"labels": {"job": "a"}, "metrics": "\\ud800"}]',
        "[" * 100_000,
    ],
)
def test_what_is_no_list_of_groups(body: str) -> None:
    send = gateway(enable_multiple_groups=True)
    assert send("PUT", "/api/v1/groups", body).status == 400
    assert send("GET", "/metrics").status == 200
    assert jobs(send) == []


def test_several_groups_are_off_by_default() -> None:
    assert multiple(gateway(), "PUT", ({"job": "a"}, "y 1\n")).status == 404


# Access.


@pytest.mark.parametrize(
    ("rule", "status", "headers"),
    [
        (basic_auth("job", "secret"), 401, {"Authorization": "Basic am9iOnNlY3JldA=="}),
        (bearer_token("token"), 401, {"Authorization": "Bearer token"}),
        (allow_networks("10.0.0.0/8"), 403, None),
        (lambda request: request.method == "GET", 403, None),
    ],
    ids=["basic", "bearer", "networks", "function"],
)
def test_who_may_not_push_does_not_even_send_a_body(rule: Any, status: int, headers: Any) -> None:
    send = gateway(access=rule)
    refused = send("PUT", "/metrics/job/j", "a 1\n")
    assert refused.status == status
    assert ("www-authenticate" in refused.headers) == (status == 401)
    if headers is not None:
        assert send("PUT", "/metrics/job/j", "a 1\n", headers).status == 200
        for path in ("/", "/metrics", "/api/v1/metrics", "/-/healthy"):
            assert (send("GET", path).status, send("GET", path, headers=headers).status) == (
                401,
                200,
            )


# The original's options.


def test_names_with_any_characters() -> None:
    send = gateway(enable_utf8_names=True)
    path = "/metrics/job/example/U__foo_2e_bar/baz/U___3a_/1"
    body = '# TYPE "my.metric" gauge\n{"my.metric","l.x"="1"} 5\n'
    assert send("PUT", path, body).status == 200
    wanted = {"Accept": "text/plain;escaping=allow-utf-8"}
    assert (
        '{"my.metric",":"="1","foo.bar"="baz",instance="",job="example","l.x"="1"} 5\n'
        in send("GET", "/metrics", headers=wanted).text
    )
    plain = send("GET", "/metrics").text
    assert 'my_metric{_="1",foo_bar="baz",instance="",job="example",l_x="1"} 5\n' in plain
    assert send("DELETE", path).status == 202
    assert jobs(send) == []


HISTOGRAM = '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n'
SUMMARY = '# TYPE s summary\ns{quantile="0.5"} 1\ns_sum 1\ns_count 1\n'
# Prometheus would refuse all of the page, and so take away what other jobs have pushed.
REFUSED = [
    ("/metrics/job/j/quantile/5", SUMMARY, 'must not have an explicit "quantile" label'),
    ("/metrics/job/j/le/5", HISTOGRAM, 'must not have an explicit "le" label'),
    ("/metrics/job/j", '{"a\0b"} 1\n', "has an invalid name or help"),
    ("/metrics/job/j", 'a{"b\0c"="1"} 1\n', "has a label with an invalid name"),
]


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(("path", "body", "problem"), REFUSED)
def test_what_would_spoil_the_page_is_refused(
    path: str, body: str, problem: str, check: bool
) -> None:
    send = gateway(enable_utf8_names=True, disable_consistency_check=not check)
    assert send("PUT", "/metrics/job/other", "a 7\n").status in (200, 202)
    reply = send("PUT", path, body)
    assert reply.status == 400
    assert problem in reply.text
    page = send("GET", "/metrics", headers={"Accept": "text/plain;escaping=allow-utf-8"}).text
    assert 'a{instance="",job="other"} 7\n' in page
    assert "\0" not in page
    assert not re.search(r"^[hs]_", page, re.MULTILINE)


def test_other_types_may_have_these_labels() -> None:
    send = gateway()
    assert send("PUT", "/metrics/job/j/le/5", "a 1\n" + SUMMARY).status == 200
    assert send("PUT", "/metrics/job/j/quantile/5", "b 1\n" + HISTOGRAM).status == 200
    text = send("GET", "/metrics").text
    assert 's{instance="",job="j",le="5",quantile="0.5"} 1\n' in text
    assert 'h_bucket{instance="",job="j",quantile="5",le="1"} 1\n' in text


def test_without_the_check_the_last_push_wins_and_scrapes_go_on() -> None:
    send = gateway(disable_consistency_check=True)
    first = send("PUT", "/metrics/job/j", '# TYPE a gauge\na{instance="i"} 1\n')
    second = send("PUT", "/metrics/job/j/instance/i", "# TYPE a counter\na 2\n")
    third = send("PUT", "/metrics/job/h", "# TYPE a histogram\na_sum 1\n")
    assert [first.status, second.status, third.status] == [202, 202, 202]
    text = shown(send("GET", "/metrics").text)
    assert re.findall(r"^a.*$", text, re.MULTILINE) == ['a{instance="i",job="j"} 2']
    assert send("PUT", "/metrics/job/j", "a 1 1\n").status == 400
    send("DELETE", "/metrics/job/j/instance/i")
    assert 'a{instance="i",job="j"} 1\n' in send("GET", "/metrics").text


def test_a_prefix_stands_before_all_paths() -> None:
    send = gateway(route_prefix="pg/", telemetry_path="/own")
    assert send("PUT", "/pg/metrics/job/j", "a 1\n").status == 200
    assert 'a{instance="",job="j"} 1\n' in send("GET", "/pg/own").text
    assert send("GET", "/pg/").status == 200
    assert send("GET", "/pg/-/healthy").status == 200
    assert send("GET", "/metrics").status == 404
    assert send("GET", "/pgx/own").status == 404
    assert send("GET", "/pg").headers["location"] == "/pg/"
    assert send("GET", "/pg/own/?x=1").headers["location"] == "/pg/own?x=1"


def test_quitting_is_off_by_default_and_calls_what_ends_the_server() -> None:
    calls: list[int] = []
    send = gateway(quit=lambda: calls.append(1))
    assert send("GET", "/-/quit").status == 405
    assert send("PUT", "/-/quit").text == "Requesting termination... Goodbye!"
    assert calls == [1]


@pytest.mark.parametrize("options", [{"push_ttl": -1}, {"max_body_bytes": 0}])
def test_wrong_options(options: Any) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        Setup.from_options(options)


@pytest.mark.parametrize("mount", ["/push", "/推", "/püsh it"])
def test_mounted_below_a_path(mount: str, tmp_path: Path) -> None:
    starlette = pytest.importorskip("starlette.applications")
    from starlette.routing import Mount

    app = make_asgi_app(persistence_file=str(tmp_path / "groups.db"))
    send, below = Mounted(starlette.Starlette(routes=[Mount(mount, app=app)])), quote(mount)
    assert send("PUT", f"{below}/metrics/job/j/x/a%20b", "a 1\n").status == 200
    assert 'a{instance="",job="j",x="a b"} 1\n' in send("GET", f"{below}/metrics").text
    redirect = send("PUT", f"{below}/metrics/job/j//x/1")
    assert redirect.headers["location"] == f"{below}/metrics/job/j/x/1"
    app.gateway.close()


@pytest.mark.parametrize("digits", [18, 19, 5000])
def test_a_length_of_many_digits_is_too_long(digits: int) -> None:
    reply = gateway()("PUT", "/metrics/job/a", "a 1\n", {"Content-Length": "9" * digits})
    assert reply.status == 413
