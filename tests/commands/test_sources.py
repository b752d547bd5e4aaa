"""Pages that commands fetch: whole and in time, or not at all."""

from __future__ import annotations

import io
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from prom_middleware.cli import main
from prom_middleware.commands import CommandError, modules, sources, streams
from prom_middleware.commands.sources import fetched
from prom_middleware.logins import shown
from push.gateways import listening

PAGE = b"jobs_total 3\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
CHUNK = b"d\r\njobs_total 3\n\r\n"
WHOLE = {
    "length": HEAD + b"Content-Length: 13\r\n\r\n" + PAGE,
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n",
    "until it hangs up": HEAD + b"\r\n" + PAGE,
}
CUT = {
    "length": HEAD + b"Content-Length: 26\r\n\r\n" + PAGE,
    "between chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK,
    "in a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK[:9],
}


def answering(answer: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def behave(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    return behave


@pytest.mark.parametrize("how", WHOLE)
def test_a_whole_page(how: str) -> None:
    with listening(answering(WHOLE[how])) as (address, _):
        assert fetched(f"http://{address}/metrics", 10) == (PAGE, "text/plain")


def test_a_page_that_does_not_say_what_it_is() -> None:
    with listening(answering(b"HTTP/1.1 200 OK\r\n\r\n" + PAGE)) as (address, _):
        assert fetched(f"http://{address}/metrics", 10) == (PAGE, "")


@pytest.mark.parametrize("how", CUT)
def test_a_page_that_is_cut_off_is_none(how: str) -> None:
    with (
        listening(answering(CUT[how])) as (address, _),
        pytest.raises(CommandError, match="IncompleteRead"),
    ):
        fetched(f"http://{address}/metrics", 10)


def test_a_page_that_takes_too_long_is_none() -> None:
    def behave(connection: socket.socket, ended: threading.Event) -> None:
        connection.sendall(HEAD + b"\r\n")
        while not ended.wait(0.05):
            connection.sendall(b"\n")

    began = monotonic()
    with listening(behave) as (address, _), pytest.raises(CommandError, match="timed out"):
        fetched(f"http://{address}/metrics", 0.5)
    assert monotonic() - began < 15


def test_a_name_and_a_password_are_sent_and_never_shown(capsys: Any, tmp_path: Path) -> None:
    asked = []

    def behave(connection: socket.socket, ended: threading.Event) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(HEAD + b"\r\njobs_total x\n")

    with listening(behave) as (address, _):
        url = f"http://joe:a%20secret@{address}/metrics"
        textfile = ["textfile", "-o", str(tmp_path / "jobs.prom"), url]
        for command in (["check", url], ["check", "--format", "json", url], textfile):
            assert main(command) != 0
    said = capsys.readouterr()
    assert said.err.count(f"http://{address}/metrics") + said.out.count(f"http://{address}") >= 2
    assert "secret" not in said.out + said.err
    for request in asked:
        assert b"\r\nAuthorization: Basic am9lOmEgc2VjcmV0\r\n" in request  # joe:a secret


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("http://joe:secret@host:9100/metrics", "http://host:9100/metrics"),
        ("http://joe@host", "http://host"),
        ("http://joe:se@cret@host/a@b", "http://host/a@b"),
        ("http://host?team=a@b", "http://host?team=a@b"),
        ("http://joe:secret@host#a@b", "http://host#a@b"),
        ("statsdd://joe:secret@host:9125", "statsdd://host:9125"),
        ("http://joe:se#cret@host/a", "http://host/a"),
        ("http://joe:se/cr@et@host/a", "http://host/a"),
        ("http://host:9100/a?team=a@b", "http://host:9100/a?team=a@b"),
        ("http://[::1]:9100/a@b", "http://[::1]:9100/a@b"),
        ("joe:secret@host:2003", "host:2003"),
        ("http:/joe:secret@host", "host"),
        ("shop.jobs:registry", "shop.jobs:registry"),
        ("-", "-"),
    ],
)
def test_the_part_of_a_source_that_may_be_shown(source: str, seen: str) -> None:
    assert shown(source) == seen


@pytest.mark.parametrize("character", "#?/")
def test_what_is_wrong_with_a_url_says_nothing_of_its_password(character: str, capsys: Any) -> None:
    assert main(["check", f"http://joe:se{character}cret@127.0.0.1:1/metrics"]) == 1
    said = capsys.readouterr().err
    assert "se" + character not in said
    assert "cret" not in said
    assert "'se'" not in said
    assert "%23" in said


def test_an_at_sign_behind_the_host_is_none_of_its() -> None:
    with listening(answering(WHOLE["length"])) as (address, _):
        assert fetched(f"http://{address}?team=a@nosuch.invalid", 10)[0] == PAGE


def test_nor_sent_to_whom_a_page_leads() -> None:
    asked = []

    def last(connection: socket.socket, ended: threading.Event) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(WHOLE["length"])

    def first(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: http://{other}/\r\n\r\n".encode())

    with listening(last) as (other, _), listening(first) as (address, _):
        assert fetched(f"http://joe:secret@{address}/", 10)[0] == PAGE
    assert len(asked) == 1
    assert b"Authorization" not in asked[0]


def test_a_page_without_an_end_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_BYTES", len(PAGE) - 1)
    with (
        listening(answering(WHOLE["until it hangs up"])) as (address, _),
        pytest.raises(CommandError, match="more than 12 bytes"),
    ):
        fetched(f"http://{address}/metrics", 10)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_url_is_fetched(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "fetched", lambda *given: (PAGE, given[0]))
    assert list(sources.content_of(f"{scheme}://host/metrics", 10)) == [PAGE]


def test_a_registry_without_metrics_is_an_empty_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "load_registry", lambda source: CollectorRegistry())
    assert b"".join(sources.content_of("shop:registry", 10)) == b""


def test_what_is_written_is_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads a pipe has each page when it is written, not at the end."""
    pipe = io.BytesIO()
    output = io.TextIOWrapper(io.BufferedWriter(pipe))  # type: ignore[type-var]
    monkeypatch.setattr(sys, "stdout", output)
    streams.write([PAGE])
    assert pipe.getvalue() == PAGE


def test_modules_of_the_working_directory_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for the installed script, of which Python has another folder in its place."""
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "of_two_folders.py").write_text(f"name = {folder!r}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "there"), *sys.path])
    monkeypatch.chdir(tmp_path / "here")
    try:
        assert modules.load("of_two_folders:name", str) == "here"
    finally:
        sys.modules.pop("of_two_folders", None)
