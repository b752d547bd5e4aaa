"""Clients that people have, and Debian's own Pushgateway beside ours."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import ssl
import struct
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import bcrypt
import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    delete_from_gateway,
    push_to_gateway,
    pushadd_to_gateway,
)

from certificates import Authority
from commands.programs import start
from conftest import find_program
from ports import free_port
from pushgateway.gateways import PROTOBUF, Client, Reply, serving, shown
from waiting import eventually

# More by hand: PUSHGATEWAY_EXAMPLES=2000 pytest tests/pushgateway/test_real_peers.py
EXAMPLES = int(os.environ.get("PUSHGATEWAY_EXAMPLES", "30"))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving("--web.enable-admin-api") as found:
        yield found


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("rows", "Rows.", ["table"], registry=registry).labels('a"b\\c\n').set(12)
    Counter("files", "Files.", registry=registry).inc(3)
    Histogram("seconds", "Seconds.", registry=registry, buckets=(1, 2)).observe(1.5)
    Summary("bytes", "Bytes.", registry=registry).observe(10)
    return registry


def test_the_clients_push_functions(client: Client, registry: CollectorRegistry) -> None:
    gateway, key = f"127.0.0.1:{client.port}", {"path": "/var/tmp", "empty": ""}
    push_to_gateway(gateway, "batch", registry, grouping_key=key)
    text = client("GET", "/metrics").text
    labels = 'empty="",instance="",job="batch",path="/var/tmp"'
    assert f'rows{{{labels},table="a\\"b\\\\c\\n"}} 12\n' in text
    assert f"files_total{{{labels}}} 3\n" in text
    assert f'seconds_bucket{{{labels},le="2"}} 1\n' in text
    other = CollectorRegistry()
    Gauge("added", "Added.", registry=other).set(1)
    pushadd_to_gateway(gateway, "batch", other, grouping_key=key)
    assert f"added{{{labels}}} 1\n" in client("GET", "/metrics").text
    assert "rows{" in client("GET", "/metrics").text
    delete_from_gateway(gateway, "batch", grouping_key=key)
    assert 'job="batch"' not in client("GET", "/metrics").text


@pytest.mark.real
def test_curl_with_gzip_and_chunks(client: Client, tmp_path: Path) -> None:
    curl = find_program("curl", "curl")
    packed = tmp_path / "metrics.gz"
    body = "".join(f'curled{{i="{one}"}} {one}\n' for one in range(30_000))
    packed.write_bytes(gzip.compress(body.encode()))
    plain = tmp_path / "metrics.txt"
    plain.write_text(body)  # long enough that curl asks first whether to send it
    url = f"http://127.0.0.1:{client.port}/metrics/job/curl"
    for arguments in (
        ["-H", "Content-Encoding: gzip", "--data-binary", f"@{packed}"],
        ["-T", str(plain)],
        ["-X", "PUT", "-H", "Transfer-Encoding: chunked", "--data-binary", f"@{plain}"],
    ):
        command = [curl, "-sS", "--noproxy", "*", "-w", "%{http_code}", *arguments, url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.stdout, done.stderr) == ("200", "")
        assert 'curled{i="29999",instance="",job="curl"} 29999\n' in client("GET", "/metrics").text
        client("DELETE", "/metrics/job/curl")


@pytest.mark.real
def test_a_scrape_is_what_promtool_takes(client: Client, registry: CollectorRegistry) -> None:
    promtool = find_program("promtool", "prometheus")
    push_to_gateway(f"127.0.0.1:{client.port}", "lint", registry)
    body = client("GET", "/metrics").body
    done = subprocess.run(
        [promtool, "check", "metrics"], input=body, capture_output=True, timeout=60
    )
    assert done.returncode in (0, 3), done.stderr  # 3 is for remarks on names


@pytest.mark.real
def test_real_prometheus_keeps_the_jobs_labels(
    client: Client, registry: CollectorRegistry, tmp_path: Path
) -> None:
    program = find_program("prometheus", "prometheus")
    client("PUT", "/api/v1/admin/wipe")
    push_to_gateway(f"127.0.0.1:{client.port}", "batch", registry)
    jobs = [(f"honor_{honor}", honor) for honor in ("true", "false")]
    scrapes = "".join(
        f"  - job_name: {name}\n    honor_labels: {honor}\n    scrape_interval: 1s\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{client.port}']}}]\n"
        for name, honor in jobs
    )
    (tmp_path / "prometheus.yml").write_text(f"scrape_configs:\n{scrapes}")
    port = free_port()
    command = [
        program,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command), Client(port) as prometheus:
        found = eventually(lambda: queried(prometheus, "files_total"), lambda one: len(one) == 2)
    assert found == [
        {"__name__": "files_total", "job": "batch"},
        {
            "__name__": "files_total",
            "exported_job": "batch",
            "instance": f"127.0.0.1:{client.port}",
            "job": "honor_false",
        },
    ]
    client("DELETE", "/metrics/job/batch")


def queried(prometheus: Client, query: str) -> list[dict[str, str]]:
    try:
        reply = prometheus("GET", f"/api/v1/query?query={query}")
    except OSError:
        prometheus.close()
        return []
    if reply.status != 200:
        return []
    return sorted((one["metric"] for one in json.loads(reply.body)["data"]["result"]), key=len)


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


# TLS and users.


def test_the_web_config_file(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server", x509.DNSName("localhost"))
    tls = f"tls_server_config:\n  cert_file: {pair.cert}\n  key_file: {pair.key}\n"
    headers = "http_server_config:\n  headers:\n    X-Frame-Options: deny\n"
    password = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    users = f"basic_auth_users:\n  job: {password}\n"
    (tmp_path / "web.yml").write_text(tls + headers + users)
    context = ssl.create_default_context(cafile=str(authority.cert))
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    with serving(f"--web.config.file={tmp_path}/web.yml") as client:
        url = f"https://localhost:{client.port}/metrics/job/j"
        request = Request(url, b"a 1\n", method="PUT")
        with pytest.raises(HTTPError, match="401") as refused:
            opener.open(request, timeout=30)
        refused.value.close()
        request.add_header("Authorization", f"Basic {b64encode(b'job:secret').decode()}")
        with opener.open(request, timeout=30) as response:
            assert (response.status, response.headers["X-Frame-Options"]) == (200, "deny")


def test_it_ends_when_it_is_told_to() -> None:
    for end in ("SIGTERM", "SIGINT", "/-/quit"):
        process = start(
            ["pushgateway", "--web.listen-address=127.0.0.1:0", "--web.enable-lifecycle"]
        )
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(" ")[2])
        if end.startswith("/"):
            with Client(port) as client:
                assert client("PUT", end).text == "Requesting termination... Goodbye!"
        else:
            process.send_signal(getattr(signal, end))
        _, complaint = process.communicate(timeout=30)
        assert (process.returncode, complaint) == (0, "")


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        ("--web.external-url=http://[", "Invalid IPv6 URL"),
        ("--push.max-body-size=0", "a number of bytes"),
        ("--push.ttl=soon", "is no duration"),
        ("--web.config.file=none.yml", "cannot be read"),
    ],
)
def test_a_wrong_flag_is_told(flag: str, problem: str) -> None:
    process = start(["pushgateway", "--web.listen-address=127.0.0.1:0", flag])
    _, complaint = process.communicate(timeout=30)
    # What is wrong with an option is a wrong command line; what it names may be there later.
    assert process.returncode == (1 if "config.file" in flag or "url" in flag else 2)
    assert problem in complaint
    assert "Traceback" not in complaint


def test_an_address_that_is_taken_is_told(client: Client) -> None:
    process = start(["pushgateway", f"--web.listen-address=127.0.0.1:{client.port}"])
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Address already in use" in complaint
    assert "Traceback" not in complaint


# The original, in Debian's version, beside ours.


@pytest.fixture(scope="module")
def original() -> Iterator[Client]:
    program = find_program("prometheus-pushgateway", "prometheus-pushgateway")
    port = free_port()
    address = f"--web.listen-address=127.0.0.1:{port}"
    with running([program, address, "--persistence.file=", "--web.enable-admin-api"]):
        found = Client(port)

        def healthy() -> bool:
            try:
                return found("GET", "/-/healthy").status == 200
            except OSError:
                found.close()
                return False

        assert eventually(healthy, bool)
        yield found
        found.close()


NAMES = st.sampled_from(["a", "b", "a_count", "a_sum", "a_bucket", "h", "h_count", "s"])
LABEL = st.tuples(
    st.sampled_from(["x", "y", "le", "quantile", "job", "instance"]),
    st.sampled_from(["", "1", "0.5", "+Inf", "v", 'q"\\']),
)
VALUES = st.sampled_from(["0", "1", "2.5", "-1e-9", "NaN", "+Inf", "1e21", "123456789", "7"])


@st.composite
def lines(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["sample"] * 5 + ["type", "type", "help"]))
    name = draw(NAMES)
    if kind == "type":
        types = ["counter", "gauge", "untyped", "histogram", "summary"]
        return f"# TYPE {name} {draw(st.sampled_from(types))}\n"
    if kind == "help":
        return f"# HELP {name} {draw(st.sampled_from(['One.', 'Two.']))}\n"
    labels = dict(draw(st.lists(LABEL, max_size=2)))
    # The original reads a bound or a quantile before it sees what comes next.
    is_plain = labels.keys().isdisjoint(("le", "quantile"))
    between = draw(st.sampled_from([",", ",", ";", " ", "", "x"])) if is_plain else ","
    pairs = between.join(f"{key}={quoted(value)}" for key, value in labels.items())
    value = draw(VALUES)
    if name.endswith(("_count", "_bucket")) or "le" in labels:
        value = draw(st.sampled_from(["0", "1", "7"]))  # what is no count means nothing there
    return f"{name}{{{pairs}}} {value}\n" if pairs else f"{name} {value}\n"


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


PUSHES = st.lists(
    st.tuples(
        st.sampled_from(["PUT", "POST", "POST", "DELETE"]),
        st.sampled_from(["/metrics/job/j", "/metrics/job/k/x/1", "/metrics/job/j/instance/1"]),
        st.lists(lines(), max_size=6).map("".join),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.real
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(pushes=PUSHES)
def test_the_same_as_the_original(client: Client, original: Client, pushes: Any) -> None:
    for gateway in (client, original):
        assert gateway("PUT", "/api/v1/admin/wipe").status == 202
    for method, path, body in pushes:
        ours, theirs = (one(method, path, body) for one in (client, original))
        assert (ours.status, begin(ours)) == (theirs.status, begin(theirs)), (method, path, body)
    ours, theirs = (one("GET", "/metrics") for one in (client, original))
    assert comparable(ours.text) == comparable(theirs.text)


def of(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2, len(body)]) + body


def double(number: int, value: float) -> bytes:
    return bytes([number << 3 | 1]) + struct.pack("<d", value)


def pushed(type_: int, field: int, content: bytes) -> bytes:
    """Return a family with one metric, whose value is `content` in that field."""
    family = of(1, b"a_total") + bytes([0x18, type_]) + of(4, of(field, content))
    return bytes([len(family)]) + family


def counter(exemplar: bytes) -> bytes:
    return pushed(0, 3, double(1, 1) + of(2, exemplar))


def native(rest: bytes) -> bytes:
    return pushed(4, 7, b"\x08\x01" + double(2, 1) + b"\x28\x00" + rest)


EXEMPLAR = of(1, of(1, b"trace_id") + of(2, b"1")) + double(2, 1)
SPAN, DELTAS = of(12, b"\x08\x00\x10\x01"), of(13, b"\x02")
# What is told to scrapers of protocol buffers only, and whether it can be read.
KEPT = {
    "an exemplar": (counter(EXEMPLAR), True),
    "an exemplar of one field without a number": (counter(b"\x00"), False),
    "an exemplar that is cut off": (counter(EXEMPLAR[:-1]), False),
    "an exemplar whose label is cut off": (counter(of(1, b"\x0a\x05\x0a")), False),
    "an exemplar of no kind of field": (counter(b"\x0f"), False),
    "a bucket's exemplar": (native(of(3, b"\x08\x01" + double(2, 1) + of(3, b"\x00"))), False),
    "a native histogram": (native(SPAN + DELTAS), True),
    "a span": (native(of(12, b"\x00") + DELTAS), False),
    "a difference that does not end": (native(SPAN + of(13, b"\x82")), False),
    "half a double": (native(SPAN + of(14, b"1234")), False),
}


@pytest.mark.real
@pytest.mark.parametrize(("body", "is_read"), KEPT.values(), ids=KEPT)
def test_what_no_scraper_could_read_is_refused_as_the_original_does(
    client: Client, original: Client, body: bytes, is_read: bool
) -> None:
    for gateway in (client, original):
        reply = gateway("PUT", "/metrics/job/kept", body, PROTOBUF)
        assert reply.status == (200 if is_read else 400), reply


@pytest.mark.parametrize("field", [9, 12])
def test_a_native_histogram_that_says_where_more_buckets_are_than_it_has(
    client: Client, field: int
) -> None:
    body = native(of(field, b"\x08\x00\x10\x05") + of(field + 1, b"\x02"))
    reply = client("PUT", "/metrics/job/kept", body, PROTOBUF)
    assert reply.status == 400  # Prometheus would take nothing of the page
    assert "side: spans need 5 buckets, have 1 buckets" in reply.text


ODD = {
    "a blank before the braces": ("/metrics/job/j", 'b {x="5"}1\nc {}NaN\n'),
    "base64 in lines": (
        "/metrics/job@base64/YW%0AE=/x@base64/YWFh%0D%0AYQ==/y@base64/%0A",
        "a 1\n",
    ),
    "base64 in lines that ends too early": ("/metrics/job@base64/YW%0AFhY", "a 1\n"),
}


@pytest.mark.real
@pytest.mark.parametrize(("path", "body"), ODD.values(), ids=ODD)
def test_the_same_of_odd_requests(client: Client, original: Client, path: str, body: str) -> None:
    for gateway in (client, original):
        assert gateway("PUT", "/api/v1/admin/wipe").status == 202
    ours, theirs = (one("PUT", path, body) for one in (client, original))
    assert ours.status == theirs.status
    ours, theirs = (one("GET", "/metrics") for one in (client, original))
    assert comparable(ours.text) == comparable(theirs.text)


NUMBERS = """\
# TYPE h histogram
h_bucket{le="-0"} 1
h_bucket{le="1"} 12345678
h_bucket{le="1e+06"} 12345678
h_bucket{le="+Inf"} 9007199254740992
h_sum -0
h_count 9007199254740992
# TYPE s summary
s{quantile="0.5"} 1000000
s{quantile="0.9"} NaN
s_sum -Inf
s_count 1000000
# TYPE g gauge
g{i="0"} -0
g{i="1"} 0
g{i="2"} 1000000
g{i="3"} 999999
g{i="4"} 1e-7
"""


@pytest.mark.real
def test_the_query_api_has_the_original_s_numbers(client: Client, original: Client) -> None:
    told = []
    for gateway in (client, original):
        assert gateway("PUT", "/api/v1/admin/wipe").status == 202
        assert gateway("PUT", "/metrics/job/j", NUMBERS).status == 200
        (group,) = json.loads(gateway("GET", "/api/v1/metrics").body)["data"]
        told.append({name: group[name]["metrics"] for name in "hsg"})
    assert told[0] == told[1]
    assert told[0]["h"][0]["count"] == "9007199254740992"


def begin(reply: Reply) -> str:
    """Return how an error begins: which of several it is, the original's maps decide."""
    text = re.sub(r"[0-9]+ error\(s\) occurred:\s*\* ", "", reply.text)
    if "inconsistent with existing metrics: " in text:
        return text.partition(": ")[0]
    return text.partition("{")[0]


def comparable(text: str) -> list[str]:
    """Return what is exposed; of helps and metrics with equal keys, the original's maps decide."""
    return sorted(line for line in shown(text).split("\n") if not line.startswith("# HELP"))
