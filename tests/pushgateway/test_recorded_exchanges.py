"""Every recorded exchange of the original 1.11.2, with the gateway in Python."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from prom_middleware.pushgateway import make_asgi_app
from pushgateway.gateways import RECORDED, Client, Mounted, body_of, serving, shown

# The original answers every scrape with 500 after these; docs/pushgateway.md has the reasons.
DIFFERENT = {"label_pct_bad_utf8", "label_b64_bad_utf8", "empty_instance_group_poison"}
SAME = sorted(RECORDED.keys() - DIFFERENT)
# Between them, texts are from Go's protobuf library, which varies its blanks by design.
PROTOBUF_TEXT = re.compile(r"(?<=[}\]\"])\s+(?=\w+:)|(?<=\{)\s+|\s+(?=\})")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving("--web.enable-admin-api") as found:
        yield found


@pytest.mark.parametrize("name", SAME)
def test_same_on_the_wire(name: str, client: Client) -> None:
    assert client("PUT", "/api/v1/admin/wipe").status == 202
    replay(RECORDED[name], client)


@pytest.mark.parametrize("name", SAME)
def test_same_in_an_application(name: str) -> None:
    replay(RECORDED[name], Mounted(make_asgi_app(enable_admin_api=True)))


def replay(case: Any, send: Any) -> None:
    for step in case["steps"]:
        reply = send(step["method"], step["path"], body_of(step), step["headers"])
        compare(reply, step["answer"])
    after = send("GET", "/metrics")
    assert after.status == case["after"]["status"]
    assert after.headers["content-type"] == case["after"]["content_type"]
    compare_expositions(shown(after.text), shown(case["after"]["text"]))


def compare_expositions(text: str, recorded: str) -> None:
    begin, cut, rest = recorded.partition("...(")  # long ones are cut off
    if not cut:
        assert text == recorded
    else:
        assert text.startswith(begin)
        assert text.count("\n") == int(rest.partition(" ")[0])


def compare(reply: Any, answer: Any) -> None:
    assert reply.status == answer["status"]
    headers = {"content-type": answer["content_type"], **answer.get("headers", {})}
    for name in ("allow", "location", "content-encoding"):
        if name.replace("-", "_") in answer:
            headers[name] = answer[name.replace("-", "_")]
    assert {name: reply.headers.get(name) for name in headers} == headers
    if "body" in answer:
        compare_bodies(reply.text, answer["body"])
    else:
        assert bool(reply.body) == answer["bytes"]


def compare_bodies(body: str, recorded: Any) -> None:
    if isinstance(recorded, dict):
        assert status_shape(json.loads(body)) == recorded
    elif recorded.startswith("{"):
        assert masked(body) == recorded
    else:
        assert plain(body) == plain(recorded)


def plain(text: str) -> str:
    return PROTOBUF_TEXT.sub(" ", text)


def masked(body: str) -> str:
    """Mask times as the recorded answers have them."""
    body = re.sub(r'("time_stamp":)"[^"]*"', r'\1"<TS>"', body)
    return re.sub(r'"value":"1\.\d+e\+09"', '"value":"<T>"', body)


def status_shape(found: Any) -> Any:
    data = found["data"]
    return {
        "status": found["status"],
        "build": sorted(data["build_information"]),
        "flags": sorted(data["flags"]),
        "start_time": re.sub(r"\d", "9", data["start_time"]),
    }


@pytest.mark.parametrize("name", ["label_pct_bad_utf8", "label_b64_bad_utf8"])
def test_a_group_that_is_not_utf8_is_refused_and_nothing_is_left_of_it(name: str) -> None:
    send = Mounted(make_asgi_app())
    (step,) = RECORDED[name]["steps"]
    reply = send(step["method"], step["path"], body_of(step))
    assert reply.status == step["answer"]["status"] == 400
    assert r'whose value is not utf8: "\xff"' in reply.text
    assert send("GET", "/metrics").status == 200
    assert json.loads(send("GET", "/api/v1/metrics").body)["data"] == []


def test_groups_with_and_without_an_empty_instance() -> None:
    send = Mounted(make_asgi_app())
    steps = RECORDED["empty_instance_group_poison"]["steps"]
    replies = [send(one["method"], one["path"], body_of(one)) for one in steps]
    # The third is of a group of its own, and the original refuses it.
    assert [reply.status for reply in replies] == [200, 400, 200, 200]
    assert "was collected before with the same name and label values" in replies[1].text
    scrape = send("GET", "/metrics")
    assert scrape.status == 200
    assert 'zz{instance="",job="other"} 1\n' in scrape.text
    assert scrape.text.count("push_failure_time_seconds{") == 2
