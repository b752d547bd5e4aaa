"""What a gateway is sent by mistake or on purpose: no traceback, no hang, no wrong data."""

from __future__ import annotations

import gzip
import logging
import os
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from prom_middleware import failures
from prom_middleware.pushgateway import make_asgi_app
from pushgateway.gateways import PROTOBUF, Client, Mounted, body_of, serving, shown
from pushgateway.gateways import RECORDED as CASES

LIMIT = 1024 * 1024
# More by hand: PUSHGATEWAY_EXAMPLES=10000 pytest tests/pushgateway/test_bad_input.py
EXAMPLES = int(os.environ.get("PUSHGATEWAY_EXAMPLES", "60"))
GZIP = {"Content-Encoding": "gzip"}
SNAPPY = {"Content-Encoding": "snappy"}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving(f"--push.max-body-size={LIMIT}") as found:
        yield found


@pytest.fixture
def send() -> Mounted:
    return Mounted(make_asgi_app(max_body_bytes=LIMIT))


def bomb(size: int) -> bytes:
    return gzip.compress(b"a" * size)


def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(send: Mounted) -> None:
    started = time.process_time()
    for body in (bomb(50 * LIMIT), bomb(LIMIT) * 3, bomb(LIMIT + 1)):
        reply = send("PUT", "/metrics/job/j", body, GZIP)
        assert (reply.status, reply.text) == (413, f"the body has more than {LIMIT} bytes\n")
    assert time.process_time() - started < 30


def test_the_limit_is_the_last_size_that_is_taken(send: Mounted) -> None:
    line = "a 1\n"
    body = line + "#" * (LIMIT - len(line) - 1) + "\n"
    assert send("PUT", "/metrics/job/j", body).status == 200
    assert send("PUT", "/metrics/job/j", gzip.compress(body.encode()), GZIP).status == 200
    assert send("PUT", "/metrics/job/j", body + "\n").status == 413


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "EOF"),
        (gzip.compress(b"a 1\n")[:-3], "unexpected EOF"),
        (gzip.compress(b"a 1\n")[:12], "unexpected EOF"),
        (b"something else altogether", "gzip: invalid header"),
        (gzip.compress(b"a 1\n")[:-8] + bytes(8), "gzip: invalid checksum"),
        (gzip.compress(b"a 1\n") + b"and more bytes than a header", "gzip: invalid header"),
    ],
    ids=["empty", "truncated", "header", "other", "checksum", "trailing"],
)
def test_broken_gzip(send: Mounted, body: bytes, problem: str) -> None:
    reply = send("PUT", "/metrics/job/j", body, GZIP)
    assert (reply.status, reply.text) == (400, f"{problem}\n")


def test_several_members_are_one_body(send: Mounted) -> None:
    body = gzip.compress(b"a 1\n") + gzip.compress(b"b 2\n")
    assert send("PUT", "/metrics/job/j", body, GZIP).status == 200
    assert 'b{instance="",job="j"} 2' in send("GET", "/metrics").text


def test_snappy_in_frames_and_in_a_block(send: Mounted) -> None:
    snappy = pytest.importorskip("cramjam").snappy
    body = b"".join(b'a{i="%d"} %d\n' % (one, one) for one in range(10_000))
    for packed in (bytes(snappy.compress(body)), bytes(snappy.compress_raw(body))):
        assert send("PUT", "/metrics/job/j", packed, SNAPPY).status == 200
        assert 'a{i="9999",instance="",job="j"} 9999\n' in send("GET", "/metrics").text
        assert send("PUT", "/metrics/job/j", packed[:-9], SNAPPY).status == 400
    for large in (snappy.compress(b"a" * 2 * LIMIT), snappy.compress_raw(b"a" * 2 * LIMIT)):
        assert send("PUT", "/metrics/job/j", bytes(large), SNAPPY).status == 413
    claimed = b"\xff\xff\xff\xff\x0f" + b"abc"  # it says that it has 4 GiB
    assert send("PUT", "/metrics/job/j", claimed, SNAPPY).status == 413


@pytest.mark.parametrize(
    "labels",
    [
        'a="x";b="y"',
        'a="x" b="y"',
        '-a="x"b="y"',
        'a="x"b="y"h',
        'a="x"0b="y"',
        'a="x",b="y"h',
        ',a="x"',
        'a="x",,',
        'a="x"b="y",',
    ],
)
def test_labels_with_something_else_between_them(send: Mounted, labels: str) -> None:
    reply = send("PUT", "/metrics/job/j", f"m{{{labels}}} 1\n")
    assert (reply.status, reply.text[:36]) == (400, "text format parsing error in line 1:")
    assert "\nm{" not in send("GET", "/metrics").text


def test_ten_thousand_labels(send: Mounted) -> None:
    labels = ",".join(f'l{one}="{one}"' for one in range(10_000))
    assert send("PUT", "/metrics/job/j", f"a{{{labels}}} 1\n").status == 200
    path = "/metrics/job/k/" + "/".join(f"l{one}/{one}" for one in range(10_000))
    assert send("PUT", path, "a 1\n").status == 200
    families = list(text_string_to_metric_families(send("GET", "/metrics").text))
    (family,) = (one for one in families if one.name == "a")
    assert sorted(len(sample.labels) for sample in family.samples) == [10_002, 10_002]


def test_a_histogram_of_many_buckets_takes_no_time_that_grows_with_their_square(
    send: Mounted,
) -> None:
    buckets = "".join(f'h_bucket{{le="{one}"}} 1\n' for one in range(40_000))
    started = time.process_time()
    assert send("PUT", "/metrics/job/j", f"# TYPE h histogram\n{buckets}").status == 200
    assert time.process_time() - started < 30


def test_a_body_of_a_hundred_megabytes_is_refused_at_once(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as peer:
        peer.sendall(
            b"PUT /metrics/job/j HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert answered(peer).startswith(b"HTTP/1.1 413 ")


def test_who_sends_too_much_anyway_gets_to_see_the_answer(client: Client) -> None:
    reply = client("PUT", "/metrics/job/j", b"x" * (3 * LIMIT))
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert client("GET", "/-/healthy").status == 200


def answered(peer: socket.socket) -> bytes:
    """Return all that comes until the connection is closed."""
    parts = []
    while part := peer.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: gzip\r\n\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nabXX0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 2000,
    ],
    ids=["negative", "two-lengths", "both", "coding", "digits", "overrun", "long-line"],
)
def test_a_body_with_broken_framing_ends_the_connection(client: Client, framing: bytes) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as peer:
        peer.sendall(b"PUT /metrics/job/j HTTP/1.1\r\nHost: x\r\n" + framing)
        assert answered(peer).startswith(b"HTTP/1.1 400 ")


def test_chunks_are_one_body(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as peer:
        peer.sendall(
            b"PUT /metrics/job/chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Connection: close\r\n\r\n4;x=y\r\nchun\r\n5\r\nks 1\n\r\n0\r\nTrailer: x\r\n\r\n"
        )
        assert answered(peer).startswith(b"HTTP/1.1 200 ")
    assert 'chunks{instance="",job="chunks"} 1\n' in client("GET", "/metrics").text


def test_chunks_without_an_end_are_too_much_at_some_time(client: Client) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as peer:
        peer.sendall(
            b"PUT /metrics/job/j HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(LIMIT // 0x10000 + 1):
            peer.sendall(chunk)
        assert peer.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_slow_clients_hold_up_nobody(client: Client) -> None:
    slow = []
    try:
        for number in range(100):
            peer = socket.create_connection(("127.0.0.1", client.port), timeout=30)
            slow.append(peer)
            request = b"PUT /metrics/job/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\na"
            peer.sendall(request[: 1 + number * len(request) // 100])
        for number in range(20):
            assert client("PUT", "/metrics/job/quick", f"a {number}\n").status == 200
        assert 'a{instance="",job="quick"} 19\n' in client("GET", "/metrics").text
    finally:
        for peer in slow:
            peer.close()


def test_a_reader_that_does_not_read_holds_up_nobody(client: Client) -> None:
    body = "".join(f'wide{{i="{one}"}} 1\n' for one in range(20_000))
    assert client("PUT", "/metrics/job/wide", body).status == 200
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as peer:
        peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        assert client("PUT", "/metrics/job/quick", "a 1\n").status == 200
        assert client("DELETE", "/metrics/job/wide").status == 202


# Bodies and paths that are nearly right are of more use than noise.
SEEDS = sorted({body_of(step) for case in CASES.values() for step in case["steps"]}, key=len)[:-1]
PATHS = sorted({step["path"] for case in CASES.values() for step in case["steps"]})


@st.composite
def spoiled(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 3))
        content[place : place + length] = draw(
            st.one_of(
                st.binary(max_size=4), st.sampled_from([b"\n", b'"', b"\\", b"{", b"}", b","])
            )
        )
    return bytes(content)


HEADERS = st.sampled_from([{}, PROTOBUF, GZIP, SNAPPY, {**GZIP, **PROTOBUF}])
LINE = re.compile(
    r"(# (HELP|TYPE) \S+ .*|# HELP \S+ |[a-zA-Z_:][a-zA-Z0-9_:]*\{.*\} \S+)", re.DOTALL
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=spoiled(SEEDS), headers=HEADERS, method=st.sampled_from(["PUT", "POST"]))
def test_any_body_is_taken_whole_or_refused(body: bytes, headers: Any, method: str) -> None:
    send = Mounted(make_asgi_app())
    packed = gzip.compress(body) if headers.get("Content-Encoding") == "gzip" else body
    errors = failures.counts()
    reply = send(method, "/metrics/job/j", packed, headers)
    assert reply.status in (200, 400, 413), reply
    assert failures.counts() == errors
    scrape = send("GET", "/metrics")
    assert scrape.status == 200
    text = shown(scrape.body.decode())
    assert all(LINE.fullmatch(line) for line in text.split("\n")[:-1])
    if reply.status == 400:
        pushed = [line for line in text.splitlines() if "push_" not in line]
        assert pushed == []
    assert send("GET", "/api/v1/metrics").status == 200
    assert send("GET", "/").status == 200


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@example(path=b"?\x00/", method="GET")
@given(
    path=spoiled([path.encode() for path in PATHS]),
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD"]),
)
def test_any_path_has_an_answer(path: bytes, method: str) -> None:
    from prom_middleware.exposition import ScrapeRequest
    from prom_middleware.pushgateway.gateway import Gateway
    from prom_middleware.pushgateway.options import Setup

    gateway = Gateway(Setup(enable_admin_api=True, push_ttl=0.0))
    errors = failures.counts()
    text, _, query = path.decode("utf-8", "surrogateescape").partition("?")
    request = ScrapeRequest(method, text, query, {}, None)
    answer = gateway.answer(request, b"a 1\n")
    assert 200 <= answer.status < 500
    for name, value in answer.headers:
        assert value.isprintable(), name
    assert gateway.answer(request._replace(method="GET", path="/metrics"), b"").status == 200
    assert failures.counts() == errors


def test_nothing_of_all_that_was_logged(caplog: pytest.LogCaptureFixture) -> None:
    send = Mounted(make_asgi_app())
    with caplog.at_level(logging.DEBUG):
        for case in CASES.values():
            for step in case["steps"]:
                send(step["method"], step["path"], body_of(step), step["headers"])
    assert "prom_middleware" not in {record.name for record in caplog.records}
