"""The page, in a real browser and as text."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from prom_middleware.pushgateway import make_asgi_app
from prom_middleware.pushgateway.page.words import ago, counted, duration
from pushgateway.browser import Browser, browsing
from pushgateway.gateways import Client, Mounted, serving

BACKUP = """\
# HELP backup_duration_seconds How long the backup took.
# TYPE backup_duration_seconds gauge
backup_duration_seconds 512.25
# TYPE backup_files_total counter
backup_files_total{kind="copied"} 1204
backup_files_total{kind="skipped"} 88
"""
REPORT = """\
# HELP report_rows Rows in the report.
# TYPE report_rows histogram
report_rows_bucket{le="100"} 3
report_rows_bucket{le="+Inf"} 5
report_rows_sum 1210
report_rows_count 5
"""
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Return where screenshots are kept: PROM_MIDDLEWARE_SCREENSHOTS, or for a while."""
    folder = Path(os.environ.get("PROM_MIDDLEWARE_SCREENSHOTS", tmp_path / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with browsing(tmp_path / "browser") as found:
        found.resize(1100, 800)
        yield found


@pytest.fixture
def client() -> Iterator[Client]:
    with serving() as found:
        yield found


@pytest.fixture
def send() -> Mounted:
    return Mounted(make_asgi_app())


def three_groups(client: Client | Mounted) -> None:
    assert client("PUT", "/metrics/job/nightly_backup/instance/db1", BACKUP).status == 200
    assert client("PUT", "/metrics/job/weekly_report", REPORT).status == 200
    assert client("PUT", "/metrics/job/titan/name@base64/zqDPgc6_", "moons 82\n").status == 200


@pytest.mark.real
def test_the_page_in_a_browser(client: Client, browser: Browser, screenshots: Path) -> None:
    url = f"http://127.0.0.1:{client.port}/"
    browser.open(url)
    text = browser.text()
    assert "0 groups, nothing has been pushed yet" in text
    assert f"curl --data-binary @- {url}metrics/job/some_job" in text
    browser.screenshot(screenshots / "1-empty.png")

    three_groups(client)
    browser.open(url)
    assert "3 groups, 5 series\n" in browser.text()
    browser.click("details summary")
    assert "How long the backup took." in browser.text()
    browser.screenshot(screenshots / "2-three-groups.png")

    assert client("PUT", "/metrics/job/weekly_report", "report_rows 1 1\n").status == 400
    browser.open(url)
    assert re.search(r"Last push failed (just now|\d+ seconds? ago)", browser.text())
    assert "pushed metrics must not have timestamps" in browser.text()
    assert "3 groups, 5 series, 1 failed push\n" in browser.text()
    browser.screenshot(screenshots / "3-failed-push.png")

    browser.click("a.delete")
    browser.wait("document.querySelector('dialog').open")
    assert '{instance="db1", job="nightly_backup"}, 3 series' in browser.text()
    browser.screenshot(screenshots / "4-dialog.png")
    browser.click("dialog .cancel")
    browser.wait("!document.querySelector('dialog').open")
    browser.click("a.delete")
    browser.wait("document.querySelector('dialog').open")
    browser.click("dialog button.danger")
    browser.wait("document.body.innerText.includes('2 groups')")
    assert browser.run("location.href") == url
    assert "nightly_backup" not in client("GET", "/metrics").text
    browser.screenshot(screenshots / "5-deleted.png")

    browser.resize(360, 740, mobile=True)
    browser.open(url)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    browser.screenshot(screenshots / "6-narrow.png")

    assert browser.complaints == []
    others = [one for one in browser.requested if not one.startswith((url, "data:"))]
    assert others == []


@pytest.mark.real
def test_deleting_without_javascript(client: Client, browser: Browser, screenshots: Path) -> None:
    three_groups(client)
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(f"http://127.0.0.1:{client.port}/")
    browser.click("a.delete")
    browser.wait("document.body.innerText.includes('This cannot be undone.')")
    assert "3 series will be gone" in browser.text()
    browser.screenshot(screenshots / "7-without-javascript.png")
    browser.click("button.danger")
    browser.wait("document.body.innerText.includes('2 groups')")


@pytest.mark.real
def test_what_is_pushed_is_text_and_nothing_else(client: Client, browser: Browser) -> None:
    evil = "<img src=x onerror=alert(1)>\"'</script>"
    path = f"/metrics/job/{quote(evil, safe='').replace('%2F', 'x')}"
    assert client("PUT", path, f"# HELP a {evil}\na{{x={json.dumps(evil)}}} 1\n").status == 200
    client("PUT", path, f"{evil}\n")
    browser.open(f"http://127.0.0.1:{client.port}/?q={quote('<img')}")
    assert browser.run("document.images.length") == 0
    assert "<img src=x onerror=alert(1)>" in browser.text()
    browser.open(f"http://127.0.0.1:{client.port}/?q={quote(evil)}")
    assert browser.run("document.querySelector('[name=q]').value") == evil
    assert browser.complaints == []


def test_the_filter_finds_labels_and_names_of_metrics(send: Mounted) -> None:
    three_groups(send)
    assert shown_jobs(send, q="backup") == ["nightly_backup"]
    assert shown_jobs(send, q="db1 duration") == ["nightly_backup"]
    assert shown_jobs(send, q="MOONS") == ["titan"]
    assert shown_jobs(send, q="nothing of that") == []
    assert "Show all: 3 groups" in send("GET", "/?q=nothing").text
    send("PUT", "/metrics/job/titan/name@base64/zqDPgc6_", "a 1 1\n")
    assert shown_jobs(send, failed="1") == ["titan"]


def shown_jobs(send: Mounted, **query: str) -> list[str]:
    page = send("GET", f"/?{urlencode(query)}").text
    return re.findall(r'"label">job=<b>&quot;(\w+)&quot;', page)


def test_many_groups_are_on_several_pages(send: Mounted) -> None:
    for number in range(101):
        send("PUT", f"/metrics/job/job_{number:03}", "a 1\n")
    assert len(shown_jobs(send)) == 100
    assert shown_jobs(send, page="1") == ["job_100"]
    assert "Page 2 of 2" in send("GET", "/?page=1").text
    assert send("GET", "/?page=999999999999").status == 200


def test_another_sites_page_cannot_delete(send: Mounted) -> None:
    three_groups(send)
    form = urlencode({"group": '[["job", "weekly_report"]]'})
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://other.example", "Host": "localhost:9091"},
        {"Origin": "null", "Host": "localhost:9091"},
        {"Origin": "http://[", "Host": "localhost:9091"},
    ):
        assert send("POST", "/-/delete-group", form, {**FORM, **headers}).status == 403
    assert len(shown_jobs(send)) == 3
    here = {"Origin": "http://localhost:9091", "Host": "localhost:9091"}
    assert send("POST", "/-/delete-group", form, {**FORM, **here}).status == 303
    assert shown_jobs(send) == ["nightly_backup", "titan"]


@pytest.mark.parametrize("given", ["", "nonsense", "[1]", "{}", '[["job"]]', "[" * 10_000])
def test_a_group_that_is_none(send: Mounted, given: str) -> None:
    assert send("POST", "/-/delete-group", urlencode({"group": given})).status in (303, 400)
    assert send("GET", f"/?{urlencode({'confirm': given or 'x'})}").status == 404


@pytest.mark.parametrize("number", ["1700000000000", "NaN", "1e300", "-1e18", "+Inf"])
def test_a_time_that_is_none(send: Mounted, number: str) -> None:
    for method in ("PUT", "POST"):
        lines = f"push_failure_time_seconds {number}\n"
        assert send(method, "/metrics/job/backup", lines).status == 200
        page = send("GET", "/")
        assert (page.status, "backup" in page.text) == (200, True)


def test_times_in_words() -> None:
    assert [duration(one) for one in (0.4, 1, 59, 61, 3600, 200_000)] == [
        "a moment",
        "1 second",
        "59 seconds",
        "1 minute",
        "1 hour",
        "2 days",
    ]
    assert ago(100, 101) == "just now"
    assert ago(100, 160) == "1 minute ago"
    assert [counted(1, "series"), counted(2, "failed push")] == ["1 series", "2 failed pushes"]
