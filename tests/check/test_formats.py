"""Pages in other formats: what is said of them is that."""

from __future__ import annotations

import gzip
import json

import pytest
from prometheus_client import CollectorRegistry, Counter

from prom_middleware.check import check
from prom_middleware.check.formats import announced
from prom_middleware.check.reporting import as_github, as_json, as_text
from prom_middleware.exposition.negotiation import negotiate

TEXT = "text/plain;version=0.0.4"
PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


def page(accept: str) -> bytes:
    registry = CollectorRegistry()
    Counter("jobs", "Jobs.", registry=registry).inc(exemplar={"trace_id": "1"})
    return b"".join(negotiate(accept).render(list(registry.collect())))


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (page("application/openmetrics-text;version=1.0.0"), "this is OpenMetrics; "),
        (b"# TYPE jobs counter\njobs_total x\n# EOF\n", "this is OpenMetrics; "),
        (b"# TYPE jobs unknown\njobs 1\n# EOF", "this is OpenMetrics; "),
        (page(PROTOBUF), "this is protobuf; "),
        (gzip.compress(page(TEXT)), "this is compressed; "),
        (b"\n<!DOCTYPE html>\n<html><body>Prometheus</body></html>\n", "this is HTML; "),
        (b"<html>\n", "this is HTML; "),
        (b"jobs_total x\n", ""),
        (b"# EOF\njobs_total x\n", ""),
        (b"\xff\xfe\n", ""),
    ],
    # Not the pages, in which there are times.
    ids=map(str, range(10)),
)
def test_a_page_that_cannot_be_read(body: bytes, name: str) -> None:
    report = check(body)
    assert report.exit_code == 1
    assert report.hint.startswith(name)
    assert bool(report.hint) is bool(name)


def test_openmetrics_that_can_be_read_as_text() -> None:
    """What promtool remarks on it stays as it is; that it may be beside the point is said."""
    body = b"# HELP jobs Jobs.\n# TYPE jobs counter\njobs_total 3\n# EOF\n"
    report = check(body)
    assert report.exit_code == 3
    assert report.hint.startswith("this is OpenMetrics; ")
    assert as_text(report, "-").splitlines() == [
        "jobs_total no help text",
        f"hint: {report.hint}",
    ]


def test_a_page_in_which_nothing_is_wrong() -> None:
    """To the text format, its last line is a comment."""
    report = check(b"# HELP a_total A.\n# TYPE a_total counter\na_total 3\n# EOF\n")
    assert (report.exit_code, report.hint) == (0, "")


def test_where_it_is_shown() -> None:
    report = check("# TYPE jobs unknown\njobs 1\n# EOF\n")
    first, second = as_text(report, "-").splitlines()
    assert first.startswith("error while linting: text format parsing error in line 1: ")
    assert second == f"hint: {report.hint}"
    assert json.loads(as_json(report, "-"))["hint"] == report.hint
    assert as_github(report, "a.prom").splitlines()[1] == (
        f"::notice file=a.prom,title=check::{report.hint}"
    )
    assert json.loads(as_json(check("a 1\n"), "-"))["hint"] is None


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", "OpenMetrics"),
        ("Application/OpenMetrics-Text", "OpenMetrics"),
        (PROTOBUF, "protobuf"),
        ("text/plain; version=0.0.4", None),
        ("text/html; charset=utf-8", None),
        ("", None),
    ],
)
def test_by_its_content_type(content_type: str, name: str | None) -> None:
    form = announced(content_type)
    assert (form and form.name) == name
