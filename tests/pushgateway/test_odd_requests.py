"""Odd paths, methods and lines: what the original 1.11.2 answers to them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from urllib.parse import unquote

import pytest

from prom_middleware.exposition import bearer_token
from prom_middleware.pushgateway import make_asgi_app
from pushgateway.gateways import Client, Mounted, served, serving


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving() as found:
        yield found


@pytest.fixture
def send() -> Mounted:
    return Mounted(make_asgi_app())


def raw(client: Client, line: bytes) -> tuple[int, bytes]:
    """Send a line that clients of the standard library refuse; return the status and the body."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as peer:
        peer.sendall(line + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n")
        peer.sendall(b"\r\na 1\n")
        answer = peer.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def groups(client: Client) -> list[dict[str, str]]:
    return [group["labels"] for group in json.loads(client("GET", "/api/v1/metrics").body)["data"]]


def test_paths_that_are_not_encoded_are_read_as_utf_8(client: Client) -> None:
    # As curl sends them.
    path = "/metrics/job/täglich/π/ü".encode()
    assert raw(client, b"PUT " + path.replace("π".encode(), b"pi"))[0] == 200
    assert {"job": "täglich", "pi": "ü"} in groups(client)
    assert raw(client, b"DELETE " + path.replace("π".encode(), b"pi"))[0] == 202
    assert {"job": "täglich", "pi": "ü"} not in groups(client)


@pytest.mark.parametrize("before", [b"http://gateway:9091", b"HTTPS://user@[::1]"])
def test_a_whole_url_in_the_place_of_a_path(client: Client, before: bytes) -> None:
    # As clients send it to a proxy (RFC 9112 section 3.2.2).
    assert raw(client, b"PUT " + before + b"/metrics/job/absolute?x=/y")[0] == 200
    assert {"job": "absolute"} in groups(client)
    assert raw(client, b"DELETE " + before + b"/metrics/job/absolute")[0] == 202
    assert raw(client, b"GET " + before)[0] == 200


@pytest.mark.parametrize("line", [b"Content-Length : 4", b"X-Trace 17", b": x"])
def test_a_header_that_cannot_be_read_empties_no_group(client: Client, line: bytes) -> None:
    assert client("PUT", "/metrics/job/kept", "rows 42\n").status == 200
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as peer:
        peer.sendall(b"PUT /metrics/job/kept HTTP/1.1\r\nHost: x\r\n" + line)
        peer.sendall(b"\r\nContent-Length: 4\r\n\r\na 1\n")
        answer = peer.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"rows 42" in client("GET", "/metrics").body.replace(b'{instance="",job="kept"}', b"")


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "multipart/mixed", "a b"])
def test_what_a_body_claims_to_be_is_no_header_that_cannot_be_read(
    client: Client, kind: str
) -> None:
    reply = client("PUT", "/metrics/job/kind", "rows 42\n", {"Content-Type": kind})
    assert reply.status == 200


@pytest.mark.parametrize(
    ("tokens", "status"), [((b"right", b"wrong"), 200), ((b"wrong", b"right"), 401)]
)
def test_of_two_headers_of_one_name_the_first_counts(
    tokens: tuple[bytes, ...], status: int
) -> None:
    # As Go's `Header.Get` has it.
    lines = b"".join(b"Authorization: Bearer %b\r\n" % token for token in tokens)
    app = make_asgi_app(access=bearer_token("right"))
    with served(app) as own, socket.create_connection(own.server_address, 30) as peer:
        peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + lines + b"\r\n")
        assert peer.makefile("rb").read().startswith(b"HTTP/1.1 %d " % status)


def test_the_refusal_of_a_head_has_no_body(client: Client) -> None:
    # Whoever sent it would take the body for the next answer.
    refused = b"HEAD /metrics/job/100% HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as peer:
        peer.sendall(refused + b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        first, second = peer.makefile("rb").read().split(b"\r\n\r\nHTTP/1.1 ")
    assert first.startswith(b"HTTP/1.1 400 ")
    assert second.startswith(b"200 ")
    send = Mounted(make_asgi_app(access=lambda request: False))
    assert [send(method, "/metrics").status for method in ("GET", "HEAD")] == [403, 403]
    assert [bool(send(method, "/metrics").body) for method in ("GET", "HEAD")] == [True, False]


def test_a_path_with_a_percent_sign_that_means_nothing(client: Client, send: Mounted) -> None:
    for path in ("/metrics/job/100%", "/metrics/job/a/x/%2", "/metrics/job/%zz"):
        assert raw(client, b"PUT " + path.encode()) == (400, b"400 Bad Request")
        reply = send("PUT", path, "a 1\n")
        assert (reply.status, reply.text) == (400, "400 Bad Request")
        assert send("PUT", f"/metrics/job/j?x={path}", "a 1\n").status == 200


@pytest.mark.parametrize("method", ["put", "PROPFIND", "TRACE", "PATCH"])
def test_any_other_method_is_not_allowed(client: Client, method: str) -> None:
    reply = client(method, "/metrics/job/j", "a 1\n")
    assert (reply.status, reply.text) == (405, "Method Not Allowed\n")
    assert reply.headers["allow"] == "DELETE, OPTIONS, POST, PUT"
    assert client(method, "/nothing").status == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "location"),
    [
        ("GET", "/metrics/", 301, "/metrics"),
        ("PUT", "/metrics/", 404, None),
        ("HEAD", "/metrics/", 404, None),
        ("GET", "/metrics/job/", 404, None),
        ("PUT", "/metrics/job/", 307, "/metrics/job"),
        ("DELETE", "/metrics/job/", 307, "/metrics/job"),
        ("PUT", "/metrics/job/a'b!(c)*/.", 301, "/metrics/job/a%27b%21%28c%29%2A"),
        ("PUT", "/metrics/job/a$&+,:;=@~//x/1?q=%zz", 301, "/metrics/job/a$&+,:;=@~/x/1?q=%zz"),
    ],
)
def test_where_a_path_leads(
    send: Mounted, method: str, path: str, status: int, location: str | None
) -> None:
    reply = send(method, path, "a 1\n" if method == "PUT" else "")
    assert (reply.status, reply.headers.get("location")) == (status, location)


@pytest.mark.parametrize(
    ("given", "shown", "place"),
    [
        ("w6k=a/a-b/x", "", 3),
        ("YQ==a/x/b", "", 2),
        ("abcd%C3%A9", r"i\xb7\x1d", 4),
        ("abcde", r"i\xb7\x1d", 4),
        ("aGVsbG8gd29ybGQ%2Ba", "hello wor", 15),
        ("a", "", 0),
    ],
)
def test_what_was_read_of_a_job_until_it_was_no_base64(
    send: Mounted, given: str, shown: str, place: int
) -> None:
    reply = send("PUT", f"/metrics/job@base64/{given}", "a 1\n")
    problem = f'invalid base64 encoding in job name "{shown}": illegal base64 data'
    assert reply.text == f"{problem} at input byte {place}\n"


@pytest.mark.parametrize(
    "name", ["a.b", "é", "1a", "x@base64x", "a-b", "%F0%9F%98%80", "U__a_2e_b"]
)
def test_a_path_may_have_names_of_any_characters(name: str) -> None:
    send = Mounted(make_asgi_app(enable_utf8_names=True))
    assert send("PUT", f"/metrics/job/j/{name}/v", "a 1\n").status == 200
    shown = unquote(name).replace("U__a_2e_b", "a.b")
    page = send("GET", "/metrics", headers={"Accept": "text/plain;escaping=allow-utf-8"}).text
    assert f'"{shown}"="v"' in page


@pytest.mark.parametrize(("name", "shown"), [("%FF", r"\xff"), ("__x", "__x"), ("U__", "U__")])
def test_names_that_cannot_be(name: str, shown: str) -> None:
    send = Mounted(make_asgi_app(enable_utf8_names=True))
    reply = send("PUT", f"/metrics/job/j/{name}/v", "a 1\n")
    assert (reply.status, reply.text) == (400, f'improper label name "{shown}"\n')


def test_a_name_with_a_nul_is_not_another_one() -> None:
    send = Mounted(make_asgi_app(enable_utf8_names=True))
    assert send("PUT", "/metrics/job/j/U__a_0_/v", "a 1\n").status == 200
    assert 'a{U__a_0_="v"' in send("GET", "/metrics").text


def test_what_cannot_be_printed_is_shown_by_its_number(send: Mounted) -> None:
    reply = send("PUT", "/metrics/job/j/%E2%80%A8/v", "a 1\n")
    assert reply.text == 'improper label name "\\u2028"\n'


def test_snappy_that_is_none(send: Mounted) -> None:
    pytest.importorskip("cramjam")
    reply = send("PUT", "/metrics/job/j", "a 1\n", {"Content-Encoding": "snappy"})
    assert (reply.status, reply.text) == (400, "snappy: corrupt input\n")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"a","b"} 1', 'multiple metric names for metric "a"'),
        ('{"a",x} 1', 'multiple metric names for metric "a"'),
        ('{"a" x="1"} 1', "unexpected end of metric name 'x'"),
        ('{"a";x="1"} 1', "unexpected end of metric name ';'"),
        ('{a="1"} 1', "invalid metric name"),
        ('a{x="1",x="2" 1', 'duplicate label names for metric "a"'),
        ('a{x="1",x=2} 1', 'duplicate label names for metric "a"'),
        ("a{x,y} 1", "expected '=' after label name, found ','"),
        ('a{x="1\\', "invalid escape sequence '\\\n'"),
        ("# HELP a 1\\", "invalid escape sequence '\\\n'"),
    ],
)
def test_what_is_wrong_with_a_line(send: Mounted, line: str, problem: str) -> None:
    reply = send("PUT", "/metrics/job/j", f"{line}\n")
    assert (reply.status, reply.text) == (
        400,
        f"text format parsing error in line 1: {problem}\n",
    )
