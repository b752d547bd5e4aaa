"""`python -m prom_middleware check` of a server that has other formats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from commands.programs import ask
from prom_middleware.cli import main
from prom_middleware.commands import check, scraping, sources
from prom_middleware.exposition.negotiation import negotiate
from serving import Page, serving

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROTOBUF = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)
ASKED = "text/plain;version=0.0.4"


def page(accept: str) -> bytes:
    registry = CollectorRegistry()
    Counter("jobs", "Jobs.", registry=registry).inc(3)
    return b"".join(negotiate(accept).render(list(registry.collect())))


@contextmanager
def serving_at_url(content_type: str, body: bytes) -> Iterator[tuple[str, list[Any]]]:
    """Serve one page, whatever is asked for; yield its URL, and what will have been asked for."""
    asked: list[Any] = []

    def answer(request: BaseHTTPRequestHandler) -> Page:
        asked.append(request.headers["Accept"])
        return content_type, body

    with serving(answer) as port:
        yield f"http://127.0.0.1:{port}/metrics", asked


@pytest.mark.parametrize(
    ("content_type", "name"), [(OPENMETRICS, "OpenMetrics"), (PROTOBUF, "protobuf")]
)
def test_a_server_that_has_no_text(content_type: str, name: str) -> None:
    """It is asked for the text, and what comes instead is named."""
    with serving_at_url(content_type, page(content_type)) as (url, asked):
        done = ask("check", url)
    assert asked == [ASKED]
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"prom-middleware check: {url}: the answer is {name} ({content_type}), "
        f"though {ASKED} was asked for, which is what the rules are for\n"
    )


def test_what_is_said_of_an_answer_has_no_password(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "fetched", lambda *given: (b"", OPENMETRICS))
    assert main(["check", "http://joe:secret@host/metrics"]) == 1
    assert "check: http://host/metrics: the answer is OpenMetrics" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (scraping.Page(302, "", b""), "/metrics is answered with 302"),
        (scraping.Page(500, "", b""), "/metrics is answered with 500"),
        (scraping.Page(404, "", b""), "/metrics is answered with 404; is it instrumented?"),
        (scraping.Page(200, PROTOBUF, b""), f"the answer is protobuf ({PROTOBUF}), though"),
    ],
)
def test_an_application_that_has_no_text(
    answer: scraping.Page, said: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "scrape_app", lambda app, request: answer)
    source = "wsgiref.simple_server:demo_app"
    assert main(["check", source]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"prom-middleware check: {source}: {said}")
    assert answer.status == 200 or error.endswith(f"{said}\n")


def test_a_server_that_names_its_text_otherwise() -> None:
    with serving_at_url("text/html", page(ASKED)) as (url, _):
        done = ask("check", url)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_page_for_people() -> None:
    with serving_at_url("text/html", b"<!DOCTYPE html>\n<p>Hello") as (url, _):
        done = ask("check", url)
    assert done.returncode == 1
    assert "\nhint: this is HTML; metrics are elsewhere, mostly at /metrics\n" in done.stderr


def test_a_file_of_openmetrics(tmp_path: Path) -> None:
    (tmp_path / "shop.prom").write_bytes(b"# TYPE jobs unknown\njobs 3 # {} 1\n# EOF\n")
    done = ask("check", "shop.prom", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("error while linting: ")
    assert second.startswith("hint: this is OpenMetrics; the rules are those of the text format")


def test_what_cannot_be_read_has_its_hint_without_any_rules(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "shop.prom").write_bytes(b"# TYPE jobs unknown\njobs 3 # {} 1\n# EOF\n")
    assert main(["check", "--lint=none", "--extended", str(tmp_path / "shop.prom")]) == 1
    said = capsys.readouterr()
    assert (said.out, "\nhint: this is OpenMetrics" in said.err) == ("", True)


def test_a_hint_is_a_remark_on_remarks(tmp_path: Path) -> None:
    (tmp_path / "shop.prom").write_bytes(b"# TYPE jobs counter\njobs_total 3\n# EOF\n")
    assert "\nhint: this is OpenMetrics" in ask("check", "shop.prom", cwd=tmp_path).stderr
    done = ask("check", "--lint=none", "shop.prom", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
